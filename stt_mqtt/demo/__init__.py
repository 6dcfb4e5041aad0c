"""Three rooms that speak: the sample commands and the simulated satellites."""

"""The edge: a microphone that finds the speech itself and sends nothing else."""

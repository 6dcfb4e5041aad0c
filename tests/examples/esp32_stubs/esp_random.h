#pragma once
#include <unistd.h>

#include <cstdint>

// Each run of the sketch is a start of the board of its own.
inline uint32_t esp_random() { return 0xC0FFEE42u ^ static_cast<uint32_t>(getpid()); }

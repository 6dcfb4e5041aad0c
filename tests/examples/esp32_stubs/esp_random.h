#pragma once
#include <stdint.h>

#include <random>

// Another number at each start, as on the board: a service hears no id twice.
inline uint32_t esp_random() { return std::random_device{}(); }

// As much of the Arduino core for ESP32 as the example needs, on a PC. Time is the board's own.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <functional>

#include "board.h"

typedef bool boolean;

#define LOW 0x0
#define HIGH 0x1
#define OUTPUT 0x03

inline unsigned long millis() { return board().now_ms(); }
inline void delay(uint32_t ms) { board().advance_ms(ms); }
inline void pinMode(uint8_t, uint8_t) {}
inline void digitalWrite(uint8_t pin, uint8_t value) { board().pin(pin, value); }

class HardwareSerial {
 public:
  void begin(unsigned long) {}
  __attribute__((format(printf, 2, 3))) size_t printf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int count = vfprintf(stdout, format, arguments);
    va_end(arguments);
    return static_cast<size_t>(count);
  }
  size_t println(const char *text) { return printf("%s\n", text); }
};
inline HardwareSerial Serial;

class EspClass {
 public:
  void restart() { board().fail("the sketch restarts the board"); }
};
inline EspClass ESP;

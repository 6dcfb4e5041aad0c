// The board around the sketch: a clock that runs as the microphone is read, a recording, a script
// of what happens when, and a record of what the sketch did.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <cstdio>
#include <string>
#include <vector>

class Board {
 public:
  // Files: the recording (16-bit samples at 16 kHz), the script, the record.
  void begin(const char *recording, const char *script, const char *record);
  bool ended() const { return ended_; }
  void finish();
  [[noreturn]] void fail(const char *why);

  uint32_t now_ms() const { return static_cast<uint32_t>(now_us_ / 1000); }
  void advance_ms(uint32_t ms) { now_us_ += 1000ull * ms; }

  size_t listen(int16_t *samples, size_t count);
  // Buffers of so many samples that are lost now.
  uint32_t overflows(size_t samples);
  bool reachable();
  // Whether the broker closes the connection now.
  bool closed();
  bool next_message(std::string *topic, std::string *payload);

  void pin(uint8_t pin, uint8_t value);
  void record(const char *what, const char *id, const char *topic, bool retained,
              const void *payload, size_t length);

 private:
  struct Event {
    uint32_t at_ms;
    std::string what;
    std::string topic;
    std::string payload;
  };

  bool due(const char *what, Event *event);

  uint64_t now_us_ = 0;
  std::FILE *recording_ = nullptr;
  std::FILE *record_ = nullptr;
  std::vector<Event> script_;
  bool ended_ = false;
  bool reachable_ = true;
  int light_ = -1;
};

Board &board();

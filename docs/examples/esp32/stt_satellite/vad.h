// Finds speech: no Arduino, no floats, no memory but its own.
#pragma once

#include <stddef.h>
#include <stdint.h>

// The level of a frame in the band of voices, against the floor of the room.
class Vad {
 public:
  Vad() {
    for (int32_t &span : spans_) span = kUnknown;
  }

  void hear(const int16_t *samples, size_t count) {
    // Four samples are one at 4 kHz, which takes out the hiss; less their running mean, the hum.
    int32_t total = 0;
    const size_t groups = count / 4;
    for (size_t i = 0; i < groups; ++i, samples += 4) {
      const int32_t voice = samples[0] + samples[1] + samples[2] + samples[3] - (low_ >> 2);
      low_ += voice;
      total += voice >= 0 ? voice : -voice;
    }
    level_ = total / static_cast<int32_t>(groups);
    follow(level_ * 16);
  }

  // 12 dB above the floor an utterance may begin, 7 dB above it goes on.
  bool begins() const { return level_ * 8 >= floor_ * 32; }
  bool goes_on() const { return level_ * 8 >= floor_ * 18; }
  int32_t level() const { return level_; }
  int32_t floor() const { return floor_; }

 private:
  static constexpr int kSpanFrames = 16;  // half a second
  static constexpr int kSpans = 16;  // people speak for 5 s without a gap, hardly for 8 s
  static constexpr int32_t kUnknown = 1 << 29;
  static constexpr int32_t kLowest = 16;  // digital silence is no room
  static constexpr int32_t kFirstGuess = 256;  // no room is louder while only a moment was heard

  // The floor is the least of the smoothed levels of the last seconds. 16ths of a level.
  void follow(int32_t level) {
    if (smooth_ < 0) smooth_ = least_ = level;
    smooth_ += (level - smooth_) >> 2;
    if (smooth_ < least_) least_ = smooth_;
    int32_t least = least_;
    for (int32_t span : spans_) {
      if (span < least) least = span;
    }
    floor_ = least / 16;
    if (known_ < 2 && floor_ > kFirstGuess) floor_ = kFirstGuess;
    if (floor_ < kLowest) floor_ = kLowest;
    if (++age_ < kSpanFrames) return;
    spans_[known_ % kSpans] = least_;
    known_ = known_ + 1 < 2 * kSpans ? known_ + 1 : kSpans;
    least_ = smooth_;
    age_ = 0;
  }

  int32_t low_ = 0;
  int32_t level_ = 0;
  int32_t floor_ = 0;
  int32_t smooth_ = -1;
  int32_t least_ = 0;
  int age_ = 0;
  int known_ = 0;
  int32_t spans_[kSpans];
};

// Where an utterance begins and ends. Lengths in frames.
class Segmenter {
 public:
  static constexpr int kWindow = 8;     // in which the beginning is looked for
  static constexpr int kMinSpeech = 4;  // loud frames among them that make a beginning
  static constexpr int kPreRoll = 10;   // before the first sound, 0.3 s
  static constexpr int kHangover = 19;  // quiet ones that end an utterance, 0.6 s
  static constexpr int kLongest = 469;  // 15 s

  // Whether an utterance begins with the frame that `vad` has just heard.
  bool begins(const Vad &vad) {
    recent_ = static_cast<uint8_t>(recent_ << 1 | (vad.begins() ? 1 : 0));
    quiet_ = 0;
    return __builtin_popcount(recent_) >= kMinSpeech;
  }

  // Whether the open one, which has so many chunks, ends with it.
  bool ends(const Vad &vad, uint32_t chunks) {
    quiet_ = vad.goes_on() ? 0 : quiet_ + 1;
    return quiet_ >= kHangover || chunks >= kLongest;
  }

  void forget() { recent_ = 0; }

 private:
  static_assert(kWindow == 8, "recent_ has a bit for each");
  uint8_t recent_ = 0;
  int quiet_ = 0;
};

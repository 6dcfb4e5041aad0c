// IMA ADPCM in blocks that stand for themselves, as in a WAV file. No Arduino.
#pragma once

#include <stddef.h>
#include <stdint.h>

// A block of n bytes holds 2n - 7 samples: int16 first sample (little-endian), uint8 step index,
// a zero byte, then 4 bits per sample, low half of the byte first.
class AdpcmEncoder {
 public:
  static constexpr size_t block_bytes(size_t samples) { return 4 + (samples - 1) / 2; }

  // `count` is odd. Returns the bytes written to `block`.
  size_t encode(const int16_t *samples, size_t count, uint8_t *block) {
    int32_t predicted = samples[0];
    block[0] = static_cast<uint8_t>(predicted & 0xFF);
    block[1] = static_cast<uint8_t>(predicted >> 8 & 0xFF);
    block[2] = static_cast<uint8_t>(index_);  // goes on from the last block: the room is the same
    block[3] = 0;
    uint8_t *out = block + 4;
    for (size_t i = 1; i + 1 < count; i += 2) {
      const uint8_t low = code(samples[i], &predicted);
      *out++ = static_cast<uint8_t>(low | code(samples[i + 1], &predicted) << 4);
    }
    return static_cast<size_t>(out - block);
  }

 private:
  uint8_t code(int32_t sample, int32_t *predicted) {
    static const uint16_t steps[89] = {
        7,     8,     9,     10,    11,    12,    13,    14,    16,    17,    19,    21,    23,
        25,    28,    31,    34,    37,    41,    45,    50,    55,    60,    66,    73,    80,
        88,    97,    107,   118,   130,   143,   157,   173,   190,   209,   230,   253,   279,
        307,   337,   371,   408,   449,   494,   544,   598,   658,   724,   796,   876,   963,
        1060,  1166,  1282,  1411,  1552,  1707,  1878,  2066,  2272,  2499,  2749,  3024,  3327,
        3660,  4026,  4428,  4871,  5358,  5894,  6484,  7132,  7845,  8630,  9493,  10442, 11487,
        12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767};
    static const int8_t moves[8] = {-1, -1, -1, -1, 2, 4, 6, 8};

    int32_t step = steps[index_];
    int32_t error = sample - *predicted;
    uint8_t bits = 0;
    if (error < 0) {
      bits = 8;
      error = -error;
    }
    int32_t change = step >> 3;
    for (uint8_t bit = 4; bit; bit >>= 1, step >>= 1) {
      if (error < step) continue;
      bits |= bit;
      error -= step;
      change += step;
    }
    int32_t next = *predicted + (bits & 8 ? -change : change);
    if (next > 32767) next = 32767;
    if (next < -32768) next = -32768;
    *predicted = next;
    index_ += moves[bits & 7];
    if (index_ < 0) index_ = 0;
    if (index_ > 88) index_ = 88;
    return bits;
  }

  int index_ = 0;
};

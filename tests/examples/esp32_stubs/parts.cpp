// The parts of the example one by one, from standard input to standard output.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "adpcm.h"
#include "switches.h"
#include "vad.h"

static std::string everything() {
  std::string bytes;
  char block[4096];
  for (size_t n; (n = std::fread(block, 1, sizeof(block), stdin)) > 0;) bytes.append(block, n);
  return bytes;
}

static std::vector<int16_t> samples_of(const std::string &bytes) {
  std::vector<int16_t> samples(bytes.size() / 2);
  std::memcpy(samples.data(), bytes.data(), 2 * samples.size());
  return samples;
}

// Blocks of so many samples each.
static void adpcm(size_t samples_per_block) {
  const std::vector<int16_t> samples = samples_of(everything());
  AdpcmEncoder encoder;
  for (size_t at = 0; at + samples_per_block <= samples.size(); at += samples_per_block) {
    std::vector<uint8_t> block(AdpcmEncoder::block_bytes(samples_per_block));
    if (encoder.encode(&samples[at], samples_per_block, block.data()) != block.size()) std::abort();
    std::fwrite(block.data(), 1, block.size(), stdout);
  }
}

// Level, floor, whether an utterance begins and whether it goes on, for each 512 samples.
static void vad() {
  const std::vector<int16_t> samples = samples_of(everything());
  Vad vad;
  for (size_t at = 0; at + 512 <= samples.size(); at += 512) {
    vad.hear(&samples[at], 512);
    std::printf("%d %d %d %d\n", static_cast<int>(vad.level()), static_cast<int>(vad.floor()),
                vad.begins(), vad.goes_on());
  }
}

// For payloads behind their length (4 bytes, little-endian): what `muted` is there.
static void switches() {
  const std::string bytes = everything();
  for (size_t at = 0; at + 4 <= bytes.size();) {
    uint32_t length;
    std::memcpy(&length, &bytes[at], 4);
    // A copy of just that size, so that the sanitizer sees a read behind it.
    const std::vector<uint8_t> payload(bytes.begin() + static_cast<long>(at + 4),
                                       bytes.begin() + static_cast<long>(at + 4 + length));
    bool value = false;
    const bool found = find_switch(payload.data(), payload.size(), "muted", &value);
    std::puts(!found ? "nothing" : value ? "true" : "false");
    at += 4 + length;
  }
}

int main(int count, char **arguments) {
  const std::string part = count > 1 ? arguments[1] : "";
  if (part == "adpcm" && count == 3) adpcm(std::stoul(arguments[2]));
  else if (part == "vad") vad();
  else if (part == "switches") switches();
  else return 2;
  return 0;
}

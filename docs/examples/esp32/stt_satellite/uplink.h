// One utterance after the other on the wire. No Arduino: `Client` is anything that has
// publish(topic, payload, length, retained) -> bool, as PubSubClient does.
#pragma once

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "adpcm.h"
#include "config.h"

static_assert(sizeof(DEVICE) >= 2 && sizeof(DEVICE) <= 65, "a device has 1 to 64 characters");
static_assert(sizeof(LANGUAGE) <= 36, "a language is a tag such as en or en-US");

#if USE_ADPCM
constexpr size_t kFrameSamples = 505;  // 32 ms, a block of 256 bytes
constexpr size_t kFrameBytes = AdpcmEncoder::block_bytes(kFrameSamples);
#define CODEC "adpcm_ima"
#else
constexpr size_t kFrameSamples = 512;  // 32 ms
constexpr size_t kFrameBytes = 2 * kFrameSamples;
#define CODEC "pcm_s16le"
#endif

#define MODEL "ESP32 example"
#define VERSION "0.1.0"

#define TOPIC(name) "stt/" DEVICE "/" name

template <class Client>
class Uplink {
 public:
  explicit Uplink(Client &client) : client_(client) {}

  // `boot` is a number that the last start of the board did not have: ids have to be unique.
  void begin(uint32_t boot) { boot_ = boot; }

  bool is_open() const { return open_; }
  uint32_t chunks() const { return chunks_; }

  void open() {
    snprintf(id_, sizeof(id_), "%08" PRIx32 "-%" PRIu32, boot_, ++utterances_);
    open_ = true;
    chunks_ = 0;
    adpcm_ = AdpcmEncoder();
    char json[192];
    snprintf(json, sizeof(json),
             "{\"id\":\"%s\",\"codec\":\"" CODEC
             "\",\"rate\":16000,\"channels\":1,\"framing\":\"seq32\"%s}",
             id_, sizeof(LANGUAGE) > 1 ? ",\"language\":\"" LANGUAGE "\"" : "");
    publish(TOPIC("audio/start"), json);
  }

  // The next frame, behind its number.
  void send(const int16_t *samples) {
    if (!open_) return;
    uint8_t chunk[4 + kFrameBytes];
    for (int i = 0; i < 4; ++i) chunk[i] = static_cast<uint8_t>(chunks_ >> 8 * i & 0xFF);
#if USE_ADPCM
    adpcm_.encode(samples, kFrameSamples, chunk + 4);
#else
    memcpy(chunk + 4, samples, kFrameBytes);  // little-endian, as every ESP32 is
#endif
    ++chunks_;
    publish(TOPIC("audio"), chunk, sizeof(chunk));
  }

  // So many frames were never heard: their numbers stay free, and the service puts silence there.
  void skip(uint32_t frames) { chunks_ += open_ ? frames : 0; }

  void stop() {
    char json[64];
    snprintf(json, sizeof(json), "{\"id\":\"%s\",\"chunks\":%" PRIu32 "}", id_, chunks_);
    if (open_) publish(TOPIC("audio/stop"), json);
    open_ = false;
  }

  // Forget it: nothing of it is to be heard.
  void abort() {
    char json[64];
    snprintf(json, sizeof(json), "{\"id\":\"%s\"}", id_);
    if (open_) publish(TOPIC("audio/abort"), json);
    open_ = false;
  }

  // It was held up so long that the service may have ended it, and taken what came late for the
  // beginning of another: forget whatever is open.
  void give_up() {
    if (open_) publish(TOPIC("audio/abort"), "");
    open_ = false;
  }

  // The connection is gone, and the utterance with it: the last will ends it.
  void drop() { open_ = false; }

 private:
  void publish(const char *topic, const char *json) {
    publish(topic, reinterpret_cast<const uint8_t *>(json), strlen(json));
  }

  void publish(const char *topic, const uint8_t *payload, size_t length) {
    if (!client_.publish(topic, payload, static_cast<unsigned int>(length), false)) drop();
  }

  Client &client_;
  uint32_t boot_ = 0;
  uint32_t utterances_ = 0;
  uint32_t chunks_ = 0;
  bool open_ = false;
  char id_[20] = "";
  AdpcmEncoder adpcm_;
};

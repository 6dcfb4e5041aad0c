// From frames to utterances: the ring before the first sound, what makes it deaf, who is told.
// No Arduino; `now` is in milliseconds and may begin again at 0.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "switches.h"
#include "uplink.h"
#include "vad.h"

template <class Client>
class Satellite {
 public:
  explicit Satellite(Client &client) : client_(client), uplink_(client) {}

  // `boot` is a number that the last start of the board did not have.
  void begin(uint32_t boot) { uplink_.begin(boot); }

  // Where the next frame is to be written, `kFrameSamples` of it; `heard` says that it is there.
  int16_t *frame() { return ring_[next_]; }

  void heard(uint32_t now) {
    const int16_t *samples = ring_[next_];
    next_ = (next_ + 1) % kRing;
    if (filled_ < kRing) ++filled_;
    vad_.hear(samples, kFrameSamples);
    look_for_zeros();
    if (playing_ && now - playing_since_ >= kPlayingMs) {
      playing_ = false;
      publish_state();
    }
    if (now - heard_at_ > kHeldUpMs) {
      uplink_.give_up();
      forget();
    }
    heard_at_ = now;
    if (!connected_ || muted_ || playing_) {
      forget();
    } else if (!uplink_.is_open()) {
      wait();
    } else {
      uplink_.send(samples);
      if (segmenter_.ends(vad_, uplink_.chunks())) stop();
    }
  }

  // So many frames were lost before the next one.
  void missed(uint32_t frames) {
    uplink_.skip(frames);
    if (!uplink_.is_open()) forget();
  }

  void connected() {
    connected_ = true;
    forget();
    client_.publish(TOPIC("availability"), bytes("online"), 6, true);
    publish_state();
  }

  void disconnected() {
    connected_ = false;
    uplink_.drop();
  }

  // A message on satellite/set. `payload` may be the client's own buffer.
  void set(const uint8_t *payload, size_t length, uint32_t now) {
    find_switch(payload, length, "muted", &muted_);
    if (find_switch(payload, length, "playing", &playing_)) playing_since_ = now;
    if (muted_) uplink_.abort();
    if (playing_) stop();
    publish_state();
  }

  // Whether somebody is being listened to, for a light.
  bool listening() const { return uplink_.is_open(); }

 private:
  static constexpr size_t kRing = Segmenter::kPreRoll + Segmenter::kWindow;
  static constexpr uint32_t kPlayingMs = 60000;  // if nobody says that the sound has ended
  static constexpr uint32_t kHeldUpMs = 3000;    // the service waits for 5 s
  static constexpr int kSettling = 16;           // frames in which an offset dies away
  static constexpr int kZeros = 313;  // frames of digital silence at the start, 10 s
  static constexpr int kHears = kZeros + 1;

  void wait() {
    if (!segmenter_.begins(vad_)) return;
    uplink_.open();
    for (size_t back = filled_; back > 0; --back) uplink_.send(ring_[(next_ + kRing - back) % kRing]);
  }

  void stop() {
    uplink_.stop();
    forget();
  }

  // What was heard so far belongs to no utterance.
  void forget() {
    filled_ = 0;
    segmenter_.forget();
  }

  // Without a microphone, or with one on the other channel, all samples are alike.
  void look_for_zeros() {
    if (zeros_ == kHears) return;
    const bool was_deaf = zeros_ == kZeros;
    if (zeros_ >= 0 && vad_.level() > 0) {
      zeros_ = kHears;
    } else if (!was_deaf) {
      ++zeros_;
    }
    if (was_deaf != (zeros_ == kZeros) && connected_) publish_state();
  }

  void publish_state() {
    const bool deaf = zeros_ == kZeros;
    char json[224];
    snprintf(json, sizeof(json),
             "{\"v\":1,\"model\":\"" MODEL "\",\"version\":\"" VERSION
             "\",\"mode\":\"always\",\"codec\":\"" CODEC
             "\",\"muted\":%s,\"playing\":%s,\"listening\":%s,\"reason\":%s}",
             muted_ ? "true" : "false", playing_ ? "true" : "false",
             muted_ || playing_ || deaf ? "false" : "true",
             deaf ? "\"no microphone: only zeros\"" : "null");
    client_.publish(TOPIC("satellite/state"), bytes(json), static_cast<unsigned int>(strlen(json)),
                    true);
  }

  static const uint8_t *bytes(const char *text) { return reinterpret_cast<const uint8_t *>(text); }

  Client &client_;
  Uplink<Client> uplink_;
  Vad vad_;
  Segmenter segmenter_;
  int16_t ring_[kRing][kFrameSamples];
  size_t next_ = 0;
  size_t filled_ = 0;
  bool connected_ = false;
  bool muted_ = false;
  bool playing_ = false;
  uint32_t playing_since_ = 0;
  uint32_t heard_at_ = 0;
  int zeros_ = -kSettling;  // frames of digital silence, or kHears
};

// An I2S microphone with 24 bits in slots of 32, such as the INMP441 or the ICS-43434.
#pragma once

#include <driver/i2s_std.h>
#include <esp_attr.h>

#include <atomic>

#include "config.h"
#include "uplink.h"

class Microphone {
 public:
  bool begin() {
    i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
    channel.dma_desc_num = kBuffers;
    channel.dma_frame_num = kFrameSamples;  // what is lost is lost in whole frames
    if (i2s_new_channel(&channel, nullptr, &channel_) != ESP_OK) return false;

    i2s_std_config_t config = {
        I2S_STD_CLK_DEFAULT_CONFIG(16000),
        I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
        {I2S_GPIO_UNUSED, static_cast<gpio_num_t>(PIN_MIC_SCK), static_cast<gpio_num_t>(PIN_MIC_WS),
         I2S_GPIO_UNUSED, static_cast<gpio_num_t>(PIN_MIC_SD), {false, false, false}}};
    config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;  // its L/R pin is at GND
    if (i2s_channel_init_std_mode(channel_, &config) != ESP_OK) return false;

    i2s_event_callbacks_t events = {nullptr, &Microphone::overflow, nullptr, nullptr};
    if (i2s_channel_register_event_callback(channel_, &events, this) != ESP_OK) return false;
    return i2s_channel_enable(channel_) == ESP_OK;
  }

  // Waits for the next frame; false if none comes.
  bool read(int16_t *samples) {
    size_t bytes = 0;
    if (i2s_channel_read(channel_, words_, sizeof(words_), &bytes, 1000) != ESP_OK) return false;
    if (bytes != sizeof(words_)) return false;
    for (size_t i = 0; i < kFrameSamples; ++i) {
      // The sample stands in the upper bits.
      int32_t sample = words_[i] >> (16 - GAIN_BITS);
      offset_ += (sample * 256 - offset_) / 1024;  // some microphones have one
      sample -= offset_ / 256;
      samples[i] = static_cast<int16_t>(sample > 32767 ? 32767 : sample < -32768 ? -32768 : sample);
    }
    return true;
  }

  // How many frames were lost since the last call, because nobody read them in time.
  uint32_t lost() { return lost_.exchange(0); }

 private:
  static constexpr uint32_t kBuffers = 16;  // half a second, for as long as the network takes

  static bool IRAM_ATTR overflow(i2s_chan_handle_t, i2s_event_data_t *, void *self) {
    ++static_cast<Microphone *>(self)->lost_;
    return false;
  }

  i2s_chan_handle_t channel_ = nullptr;
  std::atomic<uint32_t> lost_{0};
  int32_t offset_ = 0;
  int32_t words_[kFrameSamples];
};

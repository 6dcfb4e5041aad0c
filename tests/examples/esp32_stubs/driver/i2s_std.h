// The I2S driver of ESP-IDF 5 as far as the example goes: a microphone that plays a recording.
// Names, order and types are those of the driver, what is not looked at is left out of the macros.
#pragma once

#include <stdint.h>
#include <string.h>

#include <vector>

#include "board.h"

typedef int esp_err_t;
#define ESP_OK 0
#define ESP_ERR_INVALID_ARG 0x102
#define ESP_ERR_INVALID_STATE 0x103
#define ESP_ERR_TIMEOUT 0x107

typedef enum { I2S_NUM_0 = 0, I2S_NUM_1 = 1, I2S_NUM_AUTO } i2s_port_t;
typedef enum { I2S_ROLE_MASTER, I2S_ROLE_SLAVE } i2s_role_t;
typedef enum { I2S_DATA_BIT_WIDTH_16BIT = 16, I2S_DATA_BIT_WIDTH_32BIT = 32 } i2s_data_bit_width_t;
typedef enum { I2S_SLOT_BIT_WIDTH_AUTO = 0 } i2s_slot_bit_width_t;
typedef enum { I2S_SLOT_MODE_MONO = 1, I2S_SLOT_MODE_STEREO = 2 } i2s_slot_mode_t;
typedef enum { I2S_STD_SLOT_LEFT = 1, I2S_STD_SLOT_RIGHT = 2, I2S_STD_SLOT_BOTH = 3 } i2s_std_slot_mask_t;
typedef enum { I2S_MCLK_MULTIPLE_256 = 256 } i2s_mclk_multiple_t;
typedef enum { I2S_CLK_SRC_DEFAULT = 0 } i2s_clock_src_t;
typedef enum { GPIO_NUM_NC = -1, GPIO_NUM_0 = 0, GPIO_NUM_MAX = 49 } gpio_num_t;
#define I2S_GPIO_UNUSED GPIO_NUM_NC

typedef struct i2s_channel_obj_t *i2s_chan_handle_t;
typedef struct {
  void *data;
  size_t size;
} i2s_event_data_t;
typedef bool (*i2s_isr_callback_t)(i2s_chan_handle_t handle, i2s_event_data_t *event, void *user_ctx);
typedef struct {
  i2s_isr_callback_t on_recv;
  i2s_isr_callback_t on_recv_q_ovf;
  i2s_isr_callback_t on_sent;
  i2s_isr_callback_t on_send_q_ovf;
} i2s_event_callbacks_t;

typedef struct {
  i2s_port_t id;
  i2s_role_t role;
  uint32_t dma_desc_num;
  uint32_t dma_frame_num;
  bool auto_clear_after_cb;
  bool auto_clear_before_cb;
  bool backup_before_sleep;
  int intr_priority;
} i2s_chan_config_t;
#define I2S_CHANNEL_DEFAULT_CONFIG(i2s_num, i2s_role) \
  { i2s_num, i2s_role, 6, 240, false, false, false, 0 }

typedef struct {
  i2s_data_bit_width_t data_bit_width;
  i2s_slot_bit_width_t slot_bit_width;
  i2s_slot_mode_t slot_mode;
  i2s_std_slot_mask_t slot_mask;
  uint32_t ws_width;
  bool ws_pol;
  bool bit_shift;
  bool left_align;
  bool big_endian;
  bool bit_order_lsb;
} i2s_std_slot_config_t;
// As on an ESP32-S3, where both slots are the default.
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits, mode) \
  { bits, I2S_SLOT_BIT_WIDTH_AUTO, mode, I2S_STD_SLOT_BOTH, bits, false, true, true, false, false }

typedef struct {
  uint32_t sample_rate_hz;
  i2s_clock_src_t clk_src;
  uint32_t ext_clk_freq_hz;
  i2s_mclk_multiple_t mclk_multiple;
  uint32_t bclk_div;
} i2s_std_clk_config_t;
#define I2S_STD_CLK_DEFAULT_CONFIG(rate) \
  { rate, I2S_CLK_SRC_DEFAULT, 0, I2S_MCLK_MULTIPLE_256, 8 }

typedef struct {
  gpio_num_t mclk;
  gpio_num_t bclk;
  gpio_num_t ws;
  gpio_num_t dout;
  gpio_num_t din;
  struct {
    uint32_t mclk_inv : 1;
    uint32_t bclk_inv : 1;
    uint32_t ws_inv : 1;
  } invert_flags;
} i2s_std_gpio_config_t;

typedef struct {
  i2s_std_clk_config_t clk_cfg;
  i2s_std_slot_config_t slot_cfg;
  i2s_std_gpio_config_t gpio_cfg;
} i2s_std_config_t;

struct i2s_channel_obj_t {
  uint32_t buffer_bytes = 0;
  i2s_event_callbacks_t events = {};
  void *user = nullptr;
  bool ready = false;
  bool running = false;
};

inline esp_err_t i2s_new_channel(const i2s_chan_config_t *config, i2s_chan_handle_t *tx,
                                 i2s_chan_handle_t *rx) {
  static i2s_channel_obj_t channel;
  channel.buffer_bytes = config->dma_frame_num * 4;
  if (tx != nullptr || channel.buffer_bytes > 4092) return ESP_ERR_INVALID_ARG;
  *rx = &channel;
  return ESP_OK;
}

inline esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t channel, const i2s_std_config_t *config) {
  const i2s_std_slot_config_t &slot = config->slot_cfg;
  if (config->clk_cfg.sample_rate_hz != 16000) board().fail("not 16 kHz");
  if (slot.data_bit_width != I2S_DATA_BIT_WIDTH_32BIT || slot.slot_mode != I2S_SLOT_MODE_MONO ||
      slot.slot_mask != I2S_STD_SLOT_LEFT || !slot.bit_shift)
    board().fail("not the format of the microphone");
  if (config->gpio_cfg.din < 0 || config->gpio_cfg.bclk < 0 || config->gpio_cfg.ws < 0)
    board().fail("a wire is missing");
  channel->ready = true;
  return ESP_OK;
}

inline esp_err_t i2s_channel_register_event_callback(i2s_chan_handle_t channel,
                                                     const i2s_event_callbacks_t *events,
                                                     void *user) {
  if (channel->running) return ESP_ERR_INVALID_STATE;
  channel->events = *events;
  channel->user = user;
  return ESP_OK;
}

inline esp_err_t i2s_channel_enable(i2s_chan_handle_t channel) {
  if (!channel->ready || channel->running) return ESP_ERR_INVALID_STATE;
  channel->running = true;
  return ESP_OK;
}

inline esp_err_t i2s_channel_read(i2s_chan_handle_t channel, void *dest, size_t size, size_t *bytes_read,
                                  uint32_t timeout_ms) {
  *bytes_read = 0;
  if (!channel->running) return ESP_ERR_INVALID_STATE;
  for (uint32_t lost = board().overflows(channel->buffer_bytes / 4); lost > 0; --lost)
    channel->events.on_recv_q_ovf(channel, nullptr, channel->user);
  std::vector<int16_t> samples(size / 4);
  const size_t count = board().listen(samples.data(), samples.size());
  int32_t *words = static_cast<int32_t *>(dest);
  // 24 bits at the top of 32, as loud as GAIN_BITS of 4 make good, and rubbish in the last byte.
  for (size_t i = 0; i < count; ++i)
    words[i] = static_cast<int32_t>(static_cast<uint32_t>(samples[i]) << 12 | (i & 0xFF));
  if (count < samples.size()) {
    board().advance_ms(timeout_ms);
    return ESP_ERR_TIMEOUT;
  }
  *bytes_read = size;
  return ESP_OK;
}

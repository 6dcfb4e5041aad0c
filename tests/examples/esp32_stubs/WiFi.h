// Wi-Fi that comes up after a moment, and TCP that the board's script can take away.
#pragma once

#include "Arduino.h"

typedef enum { WIFI_MODE_NULL = 0, WIFI_MODE_STA } wifi_mode_t;
#define WIFI_STA WIFI_MODE_STA
typedef enum { WL_IDLE_STATUS = 0, WL_CONNECTED = 3, WL_DISCONNECTED = 6 } wl_status_t;

class WiFiClass {
 public:
  bool mode(wifi_mode_t) { return true; }
  bool setSleep(bool) { return true; }
  wl_status_t begin(const char *, const char * = nullptr, int32_t = 0, const uint8_t * = nullptr,
                    bool = true) {
    began_ = true;
    return WL_DISCONNECTED;
  }
  wl_status_t status() {
    return began_ && board().now_ms() > 300 ? WL_CONNECTED : WL_DISCONNECTED;
  }

 private:
  bool began_ = false;
};
inline WiFiClass WiFi;

class Client {
 public:
  virtual ~Client() = default;
  virtual uint8_t connected() = 0;
  virtual void stop() = 0;
};

class NetworkClient : public Client {
 public:
  int connect(const char *, uint16_t, int32_t timeout_ms) {
    if (board().reachable()) return connected_ = true;
    board().advance_ms(static_cast<uint32_t>(timeout_ms));
    return false;
  }
  uint8_t connected() override { return connected_ = connected_ && board().reachable(); }
  void stop() override { connected_ = false; }

 private:
  bool connected_ = false;
};
typedef NetworkClient WiFiClient;

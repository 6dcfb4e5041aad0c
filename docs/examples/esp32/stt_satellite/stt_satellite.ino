// A microphone that sends speech, and only speech, to stt-mqtt: ESP32 with an I2S microphone.
//
// Arduino core for ESP32 3.0 or newer; library PubSubClient 2.8. Set config.h first. How to wire
// and flash it, and what goes over the wire: docs/satellites.md.
//
// The microphone is the clock: the loop waits for a frame of 32 ms, and the network has the rest
// of that time, or half a second now and then, before a frame is lost. All memory is static, but
// for the buffers of the libraries, which are made once.

#include <PubSubClient.h>
#include <WiFi.h>
#include <esp_random.h>

#include "config.h"
#include "microphone.h"
#include "satellite.h"

static constexpr uint32_t kConnectMs = 1500;  // an attempt to reach the broker takes no longer
static constexpr uint32_t kRetryMs = 1000;    // pause between two attempts; it doubles
static constexpr uint32_t kRetryMostMs = 60000;
// The default of 256 is too small for a chunk: header and topic come on top of it.
static constexpr uint16_t kMqttBuffer = 5 + 2 + sizeof(TOPIC("audio")) + 4 + kFrameBytes + 256;

static WiFiClient network;
static PubSubClient mqtt(network);

// What could not be sent whole would garble what follows, so it ends the connection.
struct Line {
  bool publish(const char *topic, const uint8_t *payload, unsigned int length, bool retained) {
    if (mqtt.publish(topic, payload, length, retained)) return true;
    network.stop();
    return false;
  }
};

static Line line;
static Satellite<Line> satellite(line);
static Microphone microphone;
static uint32_t tried_at = 0;
static uint32_t retry_ms = kRetryMs;

static uint32_t now_ms() { return static_cast<uint32_t>(millis()); }

static void on_message(char *topic, uint8_t *payload, unsigned int length) {
  if (strcmp(topic, TOPIC("satellite/set")) == 0) {
    satellite.set(payload, length, now_ms());
  } else if (strcmp(topic, TOPIC("text")) == 0) {
    Serial.printf("heard: %.*s\n", static_cast<int>(length), reinterpret_cast<char *>(payload));
  }
}

static bool connect() {
  if (WiFi.status() != WL_CONNECTED) return false;
  if (!network.connect(MQTT_HOST, MQTT_PORT, kConnectMs)) return false;
  const char *user = sizeof(MQTT_USER) > 1 ? MQTT_USER : nullptr;
  const char *password = sizeof(MQTT_USER) > 1 ? MQTT_PASSWORD : nullptr;
  if (!mqtt.connect(DEVICE, user, password, TOPIC("availability"), 0, true, "offline")) {
    Serial.printf("the broker refuses: %d\n", mqtt.state());
    return false;
  }
  return mqtt.subscribe(TOPIC("satellite/set"), 1) && mqtt.subscribe(TOPIC("text"), 1);
}

static void keep_connected() {
  if (mqtt.loop()) return;
  satellite.disconnected();
  if (now_ms() - tried_at < retry_ms) return;
  if (connect()) {
    satellite.connected();
    microphone.lost();  // what was not heard meanwhile belongs to no utterance
    retry_ms = kRetryMs;
  } else {
    network.stop();
    retry_ms = retry_ms < kRetryMostMs / 2 ? retry_ms * 2 : kRetryMostMs;
  }
  tried_at = now_ms();
}

void setup() {
  Serial.begin(115200);
  pinMode(PIN_LED, OUTPUT);
  WiFi.mode(WIFI_STA);
  WiFi.setSleep(false);  // else a chunk may wait for a beacon
  WiFi.begin(WIFI_SSID, WIFI_PASSWORD);
  satellite.begin(esp_random());  // with Wi-Fi on it is random
  mqtt.setServer(MQTT_HOST, MQTT_PORT);
  mqtt.setKeepAlive(15);
  mqtt.setSocketTimeout(2);
  mqtt.setCallback(on_message);
  if (!mqtt.setBufferSize(kMqttBuffer) || !microphone.begin()) {
    Serial.println("no memory, or no I2S: starting again");
    delay(5000);
    ESP.restart();
  }
}

void loop() {
  if (microphone.read(satellite.frame())) {
    if (const uint32_t lost = microphone.lost()) satellite.missed(lost);
    satellite.heard(now_ms());
  }
  keep_connected();
  digitalWrite(PIN_LED, satellite.listening() ? HIGH : LOW);
}

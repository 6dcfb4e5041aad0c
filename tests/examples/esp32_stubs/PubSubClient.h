// PubSubClient 2.8 as far as the example goes, with its limits: one buffer of 256 bytes unless told
// otherwise, shared by what is sent and what is heard; longer messages are not sent, or not heard.
#pragma once

#include <string>
#include <vector>

#include "Arduino.h"
#include "WiFi.h"

#define MQTT_CONNECTED 0
#define MQTT_MAX_HEADER_SIZE 5
#define MQTT_CALLBACK_SIGNATURE std::function<void(char *, uint8_t *, unsigned int)> callback

class PubSubClient {
 public:
  PubSubClient(Client &client) : client_(client) {}

  PubSubClient &setServer(const char *, uint16_t) { return *this; }
  PubSubClient &setCallback(MQTT_CALLBACK_SIGNATURE) {
    callback_ = callback;
    return *this;
  }
  PubSubClient &setKeepAlive(uint16_t) { return *this; }
  PubSubClient &setSocketTimeout(uint16_t) { return *this; }
  boolean setBufferSize(uint16_t size) {
    buffer_.resize(size);
    return size > 0;
  }

  boolean connect(const char *id, const char *, const char *, const char *will_topic,
                  uint8_t, boolean will_retain, const char *will_message) {
    if (!client_.connected()) board().fail("connect() would take 15 s where nobody answers");
    session_ = true;
    board().record("connect", id, will_topic, will_retain, will_message, strlen(will_message));
    return true;
  }
  boolean connected() { return session_ = session_ && client_.connected(); }
  int state() { return session_ ? MQTT_CONNECTED : -1; }

  boolean subscribe(const char *topic, uint8_t qos) {
    if (qos > 1 || buffer_.size() < 9 + strlen(topic) || !connected()) return false;
    subscribed_.push_back(topic);
    return true;
  }

  boolean publish(const char *topic, const uint8_t *payload, unsigned int length,
                  boolean retained) {
    if (!connected() || buffer_.size() < MQTT_MAX_HEADER_SIZE + 2 + strlen(topic) + length)
      return false;
    board().record("publish", "", topic, retained, payload, length);
    // What was heard stood in the same buffer.
    memmove(buffer_.data() + MQTT_MAX_HEADER_SIZE + 2 + strlen(topic), payload, length);
    memset(buffer_.data(), 0xEE, MQTT_MAX_HEADER_SIZE);
    return true;
  }

  boolean loop() {
    if (board().closed()) client_.stop();
    if (!connected()) return false;
    std::string topic, payload;
    if (!board().next_message(&topic, &payload)) return true;
    bool wanted = false;
    for (const std::string &subscribed : subscribed_) wanted = wanted || subscribed == topic;
    if (!wanted || buffer_.size() < 7 + topic.size() + payload.size()) return true;
    char *place = reinterpret_cast<char *>(buffer_.data());
    memcpy(place, topic.c_str(), topic.size() + 1);
    memcpy(place + topic.size() + 1, payload.data(), payload.size());
    callback_(place, buffer_.data() + topic.size() + 1, static_cast<unsigned int>(payload.size()));
    return true;
  }

 private:
  Client &client_;
  std::function<void(char *, uint8_t *, unsigned int)> callback_;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(256);
  std::vector<std::string> subscribed_;
  bool session_ = false;
};

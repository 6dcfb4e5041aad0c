// What has to be set for a board and a home.
#pragma once

#define WIFI_SSID "my-network"
#define WIFI_PASSWORD ""

#define MQTT_HOST "192.168.1.10"  // an address: looking up a name can take seconds
#define MQTT_PORT 1883
#define MQTT_USER ""  // with the ACL of docs/topics.md it is the same as DEVICE
#define MQTT_PASSWORD ""

// The name in the topics and the MQTT client id: unique in the house, 1 to 64 of A-Z a-z 0-9 _ . -
#define DEVICE "esp32"
// Such as "en"; empty: what the service is configured for.
#define LANGUAGE ""

// 1: IMA ADPCM, 8 kB/s of speech. 0: plain PCM, 32 kB/s, and nothing is lost.
#ifndef USE_ADPCM
#define USE_ADPCM 1
#endif

#define PIN_MIC_SCK 26
#define PIN_MIC_WS 25
#define PIN_MIC_SD 33
#define PIN_LED 2

// How many times 6 dB the microphone is made louder. An INMP441 hears 94 dB SPL as -26 dBFS, and
// people talk at 60: with 4, half a meter away and at the other end of the room both fit.
#define GAIN_BITS 4

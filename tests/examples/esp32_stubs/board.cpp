#include "board.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

void setup();
void loop();

Board &board() {
  static Board the_board;
  return the_board;
}

static std::string unhex(const std::string &text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

void Board::begin(const char *recording, const char *script, const char *record) {
  recording_ = std::fopen(recording, "rb");
  record_ = std::fopen(record, "w");
  if (!recording_ || !record_) fail("a file cannot be opened");
  std::ifstream lines(script);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Event event;
    std::string payload;
    words >> event.at_ms >> event.what >> event.topic >> payload;
    event.payload = unhex(payload);
    script_.push_back(event);
  }
}

void Board::finish() {
  record("end", "", "", false, "", 0);
  std::fclose(recording_);
  std::fclose(record_);
}

void Board::fail(const char *why) {
  std::fprintf(stderr, "%s\n", why);
  std::exit(3);
}

size_t Board::listen(int16_t *samples, size_t count) {
  const size_t got = std::fread(samples, 2, count, recording_);
  now_us_ += got * 1000000ull / 16000;
  ended_ = ended_ || got < count;
  return got;
}

bool Board::due(const char *what, Event *event) {
  for (size_t i = 0; i < script_.size(); ++i) {
    if (script_[i].what != what || script_[i].at_ms > now_ms()) continue;
    *event = script_[i];
    script_.erase(script_.begin() + static_cast<long>(i));
    return true;
  }
  return false;
}

uint32_t Board::overflows(size_t samples) {
  Event event;
  if (!due("overflow", &event)) return 0;
  const uint32_t buffers = static_cast<uint32_t>(std::stoul(event.topic));
  std::fseek(recording_, static_cast<long>(2 * samples * buffers), SEEK_CUR);
  now_us_ += buffers * samples * 1000000ull / 16000;
  return buffers;
}

bool Board::reachable() {
  Event event;
  if (due("unreachable", &event)) reachable_ = false;
  if (due("reachable", &event)) reachable_ = true;
  return reachable_;
}

bool Board::closed() {
  Event event;
  return due("closed", &event);
}

bool Board::next_message(std::string *topic, std::string *payload) {
  Event event;
  if (!due("message", &event)) return false;
  *topic = event.topic;
  *payload = event.payload;
  return true;
}

void Board::pin(uint8_t, uint8_t value) {
  if (light_ == value) return;
  light_ = value;
  record("light", "", "", false, value ? "on" : "off", value ? 2 : 3);
}

void Board::record(const char *what, const char *id, const char *topic, bool retained,
                   const void *payload, size_t length) {
  std::fprintf(record_, "%u,%s,%s,%s,%d,", now_ms(), what, id, topic, retained ? 1 : 0);
  const unsigned char *bytes = static_cast<const unsigned char *>(payload);
  for (size_t i = 0; i < length; ++i) std::fprintf(record_, "%02x", bytes[i]);
  std::fprintf(record_, "\n");
}

int main(int count, char **arguments) {
  if (count != 4) board().fail("usage: board RECORDING SCRIPT RECORD");
  board().begin(arguments[1], arguments[2], arguments[3]);
  setup();
  while (!board().ended()) loop();
  board().finish();
  return 0;
}

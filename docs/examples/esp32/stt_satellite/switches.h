// Looks a boolean up in a small JSON object, without a JSON library. No Arduino.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Whether `json` is an object that has `"key": true` or `"key": false` at its top level; if so it
// is stored in `value`. What is nested, quoted, cut off or of another type does not count. Nothing
// is read behind `length`, and no terminating zero is needed.
inline bool find_switch(const uint8_t *json, size_t length, const char *key, bool *value) {
  const size_t key_length = strlen(key);
  size_t at = 0;
  const auto blank = [&] {
    while (at < length && (json[at] == ' ' || (json[at] >= '\t' && json[at] <= '\r'))) ++at;
  };
  const auto literal = [&](const char *word) {
    const size_t n = strlen(word);
    if (length - at < n || memcmp(json + at, word, n) != 0) return false;
    return length - at == n || strchr(",} \t\r\n", json[at + n]) != nullptr;
  };

  blank();
  if (at == length || json[at] != '{') return false;
  int depth = 0;
  bool found = false;
  bool wanted = false;
  while (at < length) {
    const uint8_t c = json[at];
    if (c == '"') {
      const size_t start = ++at;
      while (at < length && json[at] != '"') at += json[at] == '\\' ? 2 : 1;
      if (at >= length) return false;
      const bool same = at - start == key_length && memcmp(json + start, key, key_length) == 0;
      ++at;
      blank();
      if (depth != 1 || !same || at == length || json[at] != ':') continue;
      ++at;
      blank();
      const bool is_true = literal("true");
      if (is_true || literal("false")) {
        found = true;
        wanted = is_true;
      }
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) break;
    ++at;
  }
  if (depth != 0 || at >= length || !found) return false;
  *value = wanted;
  return true;
}

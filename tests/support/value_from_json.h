// nlohmann's JSON -> Value, members in input order.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "engine/text/value.h"

namespace qwend::test {

inline Value value_from_json(const nlohmann::ordered_json& json) {
  if (json.is_boolean()) return {json.get<bool>()};
  if (json.is_number_unsigned()) {
    const auto number = json.get<uint64_t>();
    if (number <= uint64_t{INT64_MAX}) return {static_cast<int64_t>(number)};
    return {number};
  }
  if (json.is_number_integer()) return {json.get<int64_t>()};
  if (json.is_number_float()) return {json.get<double>()};
  if (json.is_string()) return {json.get<std::string>()};
  if (json.is_array()) {
    ValueArray values;
    for (const auto& element : json) values.push_back(value_from_json(element));
    return {std::move(values)};
  }
  if (json.is_object()) {
    ValueObject members;
    for (const auto& [key, value] : json.items()) members.emplace_back(key, value_from_json(value));
    return {std::move(members)};
  }
  return {nullptr};
}

}  // namespace qwend::test

#include "server/openai/error.h"

#include "server/json/json_writer.h"

namespace qwend {

std::string ApiError::to_json() const {
  std::string out;
  json::JsonWriter writer(out);
  writer.begin_object().key("error").begin_object();
  writer.member("message", message).member("type", type);
  param.empty() ? writer.key("param").null() : writer.member("param", param);
  code.empty() ? writer.key("code").null() : writer.member("code", code);
  writer.end_object().end_object();
  return out;
}

}  // namespace qwend

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "server/log.h"
#include "tests/support/catch2.h"

using namespace qwend;

namespace {

http::AccessRecord some_record() {
  http::AccessRecord record;
  record.request_id = "id-1";
  record.method = "POST";
  record.path = "/v1/completions";
  record.remote = "127.0.0.1";
  record.key_name = "team-a";
  record.status = 200;
  record.bytes_in = 312;
  record.bytes_out = 1840;
  record.seconds = 0.4123;
  return record;
}

}  // namespace

TEST_CASE("log: a request's line as text", "[server][log]") {
  http::AccessRecord record = some_record();
  CHECK(access_line(record, LogFormat::Text) ==
        "127.0.0.1 team-a \"POST /v1/completions\" 200 312 B in 1840 B out 0.412 s id-1");
  record.tokens = {23, 16, 24};
  CHECK(access_line(record, LogFormat::Text).find("1840 B out 23 tokens in (16 cached) 24 out 0.412 s") !=
        std::string::npos);
  record = some_record();
  record.key_name.clear();
  record.status = 499;
  record.aborted = true;
  record.path = "/a\nb\"c\xff";
  CHECK(access_line(record, LogFormat::Text) ==
        "127.0.0.1 - \"POST /a\\x0ab\\x22c\\xff\" 499 aborted 312 B in 1840 B out 0.412 s id-1");
  record = some_record();
  record.status = 413;
  record.error_code = "body_too_large";
  CHECK(access_line(record, LogFormat::Text).find("\" 413 body_too_large 312 B in") != std::string::npos);
}

TEST_CASE("log: a request's line as JSON", "[server][log]") {
  http::AccessRecord record = some_record();
  record.path = "/a\n\"\xff";
  record.tokens = {23, 16, 24};
  const std::string line = access_line(record, LogFormat::Json);
  CHECK(line.find('\n') == std::string::npos);
  const auto json = nlohmann::json::parse(line);
  CHECK(json["request_id"] == "id-1");
  CHECK(json["key"] == "team-a");
  CHECK(json["path"] == "/a\n\"\xef\xbf\xbd");
  CHECK(json["status"] == 200);
  CHECK(json["bytes_in"] == 312);
  CHECK(json["bytes_out"] == 1840);
  CHECK(json["prompt_tokens"] == 23);
  CHECK(json["cached_tokens"] == 16);
  CHECK(json["completion_tokens"] == 24);
  CHECK(json["seconds"] == Approx(0.4123));
  CHECK(json["aborted"] == false);
}

TEST_CASE("log: unknown levels are refused", "[server][log]") {
  CHECK_THROWS_AS(start_logging(LogFormat::Text, "loud"), LoadError);
  CHECK_THROWS_WITH(start_logging(LogFormat::Text, "loud"), Catch::Contains("\"loud\""));
}

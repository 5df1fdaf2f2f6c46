// Log lines: one a request at its end, and what the server itself has to say.
#pragma once
#include <string>

#include "server/http/http_server.h"

namespace qwend {

enum class LogFormat { Text, Json };

// Sends all log lines to standard error through a queue: a full disk or a stalled reader behind it costs
// lines, the oldest first, and never time. Call once, at start-up. level: trace, debug, info, warning, error,
// critical or off; LoadError for any other word.
void start_logging(LogFormat format, const std::string& level);
// Writes out what is queued; nothing may be logged afterwards. Call last.
void stop_logging();

// The line of one request: when, who (the key's name, never the key), what, how it ended. Never a prompt or a
// completion. Text is `127.0.0.1 team-a "POST /v1/completions" 200 312 B in 1840 B out 23 tokens in (16
// cached) 24 out 0.412 s id-1` (without tokens where none were computed); whatever a client could choose is
// escaped, so that a line stays a line.
std::string access_line(const http::AccessRecord& record, LogFormat format);
// For Server::set_access_log.
http::AccessLog access_log(LogFormat format);

}  // namespace qwend

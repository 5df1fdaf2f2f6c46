// A server ends by itself when its engine has failed, after telling the streams.
#include "server/cli/shutdown_watch.h"
#include "tests/server/api_fixture.h"
#include "tests/support/raw_client.h"

using namespace qwend;
using namespace qwend::test;
using Catch::Matchers::Contains;

namespace {

// As run_serve() does before it starts threads.
class BlockedSignals {
 public:
  BlockedSignals() {
    const sigset_t signals = cli::shutdown_signals();
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

TEST_CASE("shutdown: a failed engine ends the server with an error, its stream is told", "[server]") {
  const BlockedSignals blocked;
  ApiFixture api;
  api.executor->on_step = [](const StepInput& step) {
    if (step.positions[0] > 0) throw std::runtime_error("out of luck");  // not the first token of a prompt
  };
  http::Server server({});
  register_routes(server, *api.app);
  const int port = server.bind("127.0.0.1", 0);
  cli::ShutdownWatch watch(server, std::chrono::seconds(30));
  watch.attach(api.app.get());
  std::thread listener([&] { server.run(); });

  const std::string body = with(user("Hello"), {{"stream", true}, {"max_tokens", 5}}).dump();
  RawClient client(port);
  client.send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
      "Connection: close\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string answer = client.expect_response().body;
  listener.join();  // without a signal
  CHECK(watch.engine_died());
  CHECK(api.engine->failure() == "out of luck");
  CHECK_THAT(answer, Contains("\"error\""));
}

TEST_CASE("shutdown: a model that can't be loaded ends the listener", "[server]") {
  const BlockedSignals blocked;
  http::Server server({});
  server.set_loading(true);
  server.bind("127.0.0.1", 0);
  cli::ShutdownWatch watch(server, std::chrono::milliseconds(0));
  std::thread listener([&] { server.run(); });
  watch.cancel();
  listener.join();
  CHECK_FALSE(watch.engine_died());
}

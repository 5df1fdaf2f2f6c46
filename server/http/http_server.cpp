#include "server/http/http_server.h"

#include <algorithm>

#include "kernels/check.h"
#include "server/http/context.h"
#include "server/http/event_loop.h"
#include "server/http/socket.h"

namespace qwend::http {

const std::string* Request::header(std::string_view lower_case_name) const {
  const auto found = std::ranges::find(headers, lower_case_name, &Headers::value_type::first);
  return found == headers.end() ? nullptr : &found->second;
}

struct Server::Impl {
  explicit Impl(Limits limits) : context(limits) {}
  ServerContext context;
  std::unique_ptr<EventLoop> loop;  // from bind() on
};

Server::Server(Limits limits) : impl_(std::make_unique<Impl>(limits)) {}
Server::~Server() = default;

void Server::route(std::string method, std::string pattern, Handler handler) {
  impl_->context.router.add(std::move(method), pattern, std::move(handler), false);
}

void Server::open_route(std::string method, std::string pattern, Handler handler) {
  impl_->context.router.add(std::move(method), pattern, std::move(handler), true);
}

void Server::set_loading(bool loading) { impl_->context.loading.store(loading, std::memory_order_release); }
void Server::set_authoriser(Authoriser authoriser) { impl_->context.authorise = std::move(authoriser); }
void Server::set_access_log(AccessLog log) { impl_->context.access_log = std::move(log); }
void Server::set_cors_origins(std::vector<std::string> allowed) {
  impl_->context.cors_origins = std::move(allowed);
}

int Server::bind(const std::string& host, int port) {
  CHECK(impl_->loop == nullptr);
  Fd listener = listen_on(host, port, impl_->context.limits.backlog);
  const int bound = local_port(listener.get());
  impl_->loop = std::make_unique<EventLoop>(impl_->context, std::move(listener));
  return bound;
}

void Server::run() {
  CHECK(impl_->loop != nullptr);
  impl_->loop->run();
}

void Server::stop(std::chrono::milliseconds grace) {
  CHECK(impl_->loop != nullptr);
  impl_->loop->stop(grace);
}

int Server::open_connections() const { return impl_->loop ? impl_->loop->open_connections() : 0; }

}  // namespace qwend::http

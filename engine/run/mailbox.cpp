#include "engine/run/mailbox.h"

#include <utility>

namespace qwend {

template <class Change>
void Mailbox::post(Change change) {
  {
    const std::lock_guard lock(mutex_);
    change();
  }
  posted_.notify_one();
}

bool Mailbox::submit(std::unique_ptr<ActiveRequest> request) {
  bool taken = false;
  post([&] {
    taken = !closed_;
    if (taken) mail_.requests.push_back(std::move(request));
  });
  return taken;
}

void Mailbox::cancel(RequestId id) {
  post([&] { mail_.cancelled.push_back(id); });
}

void Mailbox::inspect(std::function<void()> inspection) {
  post([&] { mail_.inspections.push_back(std::move(inspection)); });
}

void Mailbox::stop() {
  post([&] { mail_.stop = true; });
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

Mailbox::Mail Mailbox::take(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (timeout.count() > 0) posted_.wait_for(lock, timeout, [&] { return !mail_.empty(); });
  Mail taken = std::exchange(mail_, {});
  mail_.stop = taken.stop;
  return taken;
}

}  // namespace qwend

// One call of the REST interface: sends a request with the key, turns what comes back into a value or an error, repeats
// what may be repeated. Any thread; completions come on the I/O thread, or at once when the client was closed.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "backend.hpp"
#include "base/json.hpp"
#include "remote/fields.hpp"
#include "remote/http.hpp"
#include "remote/requests.hpp"
#include "remote/settings.hpp"

namespace orkestr::remote {

struct CallLimits {
  std::size_t answer_bytes = 16U << 20U;
  std::chrono::milliseconds extra_time{0};  // that the service itself may take, over the client's timeout
};

class ApiCall;

class Api : public std::enable_shared_from_this<Api> {
 public:
  Api(std::shared_ptr<Http> http, Settings settings) : http_(std::move(http)), settings_(std::move(settings)) {}

  // Completes with the parsed body; null for an empty one. GET is repeated, twice at most, when the connection failed
  // before an answer began.
  CancelFunction call(ApiRequest request, CallLimits limits,
                      std::function<void(Result<base::JsonValue>, const AnswerContext&)> done);

  // The same with a decoder: T decode(json, context).
  template <class T, class Decode>
  CancelFunction ask(ApiRequest request, Completion<T> done, Decode decode, CallLimits limits = {}) {
    return call(std::move(request), limits,
                [done = std::move(done), decode = std::move(decode)](Result<base::JsonValue> json,
                                                                     const AnswerContext& context) {
                  if (!json) return done(json.error());
                  done(decode(*json, context));
                });
  }
  CancelFunction ask_nothing(ApiRequest request, Completion<void> done) {
    return ask<void>(std::move(request), std::move(done),
                     [](const base::JsonValue&, const AnswerContext&) { return Result<void>(); });
  }

  // For a request whose answer is streamed: URL, headers and body.
  HttpRequest http_request(const ApiRequest& request, std::chrono::milliseconds extra_time) const;
  // The request with a `what` that is fit for texts: an id in it may be the service's, and hold the key.
  ApiRequest fit_for_texts(ApiRequest request) const;
  // What went wrong, told with what was being done.
  Error explain(const Error& error, const ApiRequest& request) const;
  Error refused(const HttpAnswer& answer, const ApiRequest& request) const;

  Http& http() { return *http_; }
  const Settings& settings() const { return settings_; }
  // Ends calls that wait to be repeated. I/O thread, before Http::shut_down().
  void shut_down();

 private:
  friend class ApiCall;
  const std::shared_ptr<Http> http_;
  const Settings settings_;
  std::set<std::shared_ptr<ApiCall>> waiting_;  // for the next attempt; I/O thread
};

}  // namespace orkestr::remote

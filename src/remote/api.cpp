#include "remote/api.hpp"

#include <fmt/format.h>

#include <array>
#include <mutex>

#include "remote/errors.hpp"
#include "remote/text.hpp"

namespace orkestr::remote {
namespace {

constexpr std::array<std::chrono::milliseconds, 2> kPauses = {std::chrono::milliseconds(100),
                                                              std::chrono::milliseconds(500)};

// Whether anything of the request can have reached the service.
bool was_sent(const Error& error) {
  if (error.code() != ErrorCode::connection) return false;
  const std::string_view stage = error.details().stage;
  return stage != kStageConnect && stage != kStageConnectTime && stage != kStageCertificate;
}

bool is_success(int status) { return status >= 200 && status < 300; }

}  // namespace

// One call with its attempts. What is not under the mutex belongs to the I/O thread.
class ApiCall : public std::enable_shared_from_this<ApiCall> {
 public:
  using Done = std::function<void(Result<base::JsonValue>, const AnswerContext&)>;
  ApiCall(std::shared_ptr<Api> api, ApiRequest request, CallLimits limits, Done done)
      : api_(std::move(api)),
        request_(api_->fit_for_texts(std::move(request))),
        limits_(limits),
        done_(std::move(done)) {}

  void attempt() {
    HttpRequest http = api_->http_request(request_, limits_.extra_time);
    http.max_answer_bytes = limits_.answer_bytes;
    Exchange::Handlers handlers;
    handlers.on_end = [self = shared_from_this()](Result<HttpAnswer> answer) { self->answered(std::move(answer)); };
    auto exchange = api_->http().prepare(std::move(http), std::move(handlers));
    bool cancelled = false;
    {
      std::lock_guard lock(mutex_);
      exchange_ = exchange;
      cancelled = cancelled_;
    }
    exchange->begin();
    if (cancelled) exchange->cancel();
  }

  void cancel() {
    std::shared_ptr<Exchange> exchange;
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
      exchange = exchange_;
    }
    if (exchange) exchange->cancel();
    api_->http().post([self = shared_from_this()] { self->stop_waiting(); });
  }

  void stop_waiting() {
    if (timer_ == 0) return;
    api_->http().loop().reactor().cancel_timer(std::exchange(timer_, 0));
    api_->waiting_.erase(shared_from_this());
    finish(Error(ErrorCode::cancelled, request_.what + ": cancelled"), {request_.what, {}});
  }

 private:
  void answered(Result<HttpAnswer> answer) {
    if (!answer && may_repeat(answer.error())) return wait();
    if (!answer) return finish(api_->explain(answer.error(), request_), {request_.what, {}});
    const AnswerContext context{request_.what, answer->request_id, api_->settings().api_key};
    if (!is_success(answer->status)) return finish(api_->refused(*answer, request_), context);
    if (answer->body.empty()) return finish(base::JsonValue(), context);
    auto json = base::JsonValue::parse(answer->body, limits_.answer_bytes);
    if (!json) return finish(bad_field(context, "the whole", "is " + json.error().message()), context);
    finish(std::move(*json), context);
  }

  // Only what changes nothing, and only where nothing was answered.
  bool may_repeat(const Error& error) {
    if (request_.method != "GET" || error.code() != ErrorCode::connection) return false;
    const std::string_view stage = error.details().stage;
    if (!stage.empty() && stage != kStageConnect) return false;
    if (error.details().status_code != 0 || repeats_ >= kPauses.size()) return false;
    std::lock_guard lock(mutex_);
    return !cancelled_;
  }

  void wait() {
    const auto self = shared_from_this();
    api_->waiting_.insert(self);
    timer_ = api_->http().loop().reactor().add_timer(kPauses.at(repeats_++), [self] {
      self->timer_ = 0;
      self->api_->waiting_.erase(self);
      self->attempt();
    });
  }

  void finish(Result<base::JsonValue> result, const AnswerContext& context) {
    if (const auto done = std::exchange(done_, nullptr)) done(std::move(result), context);
  }

  const std::shared_ptr<Api> api_;
  const ApiRequest request_;
  const CallLimits limits_;
  Done done_;
  std::size_t repeats_ = 0;
  base::Reactor::TimerId timer_ = 0;
  std::mutex mutex_;
  std::shared_ptr<Exchange> exchange_;
  bool cancelled_ = false;
};

CancelFunction Api::call(ApiRequest request, CallLimits limits, ApiCall::Done done) {
  auto one = std::make_shared<ApiCall>(shared_from_this(), std::move(request), limits, std::move(done));
  one->attempt();
  return [weak = std::weak_ptr<ApiCall>(one)] {
    if (const auto self = weak.lock()) self->cancel();
  };
}

HttpRequest Api::http_request(const ApiRequest& request, std::chrono::milliseconds extra_time) const {
  HttpRequest http;
  http.method = request.method;
  http.url = settings_.base_url + request.target;
  http.headers = {"Authorization: Bearer " + settings_.api_key, "Accept: application/json"};
  if (!request.body.empty()) http.headers.emplace_back("Content-Type: application/json");
  if (request.body.empty() && request.method == "POST") http.headers.emplace_back("Content-Type:");
  http.body = request.body;
  http.repeatable = is_repeatable(request);
  http.patience.connect = settings_.timeout;
  http.patience.silence = settings_.timeout;
  http.patience.answer = settings_.timeout + extra_time;
  return http;
}

ApiRequest Api::fit_for_texts(ApiRequest request) const {
  request.what = without_key(request.what, settings_.api_key);
  return request;
}

Error Api::explain(const Error& error, const ApiRequest& request) const {
  std::string text = fmt::format("{}: {}", request.what, without_key(error.message(), settings_.api_key));
  if (was_sent(error) && !is_repeatable(request)) {
    text += ". The service may have done it all the same: it was not tried again";
  }
  ErrorDetails details = error.details();
  details.request_id = shown_request(details.request_id, settings_.api_key);
  return Error(error.code(), std::move(text), std::move(details));
}

Error Api::refused(const HttpAnswer& answer, const ApiRequest& request) const {
  return error_of_answer(answer, {request.what, request.about_file, settings_.api_key});
}

void Api::shut_down() {
  while (!waiting_.empty()) {
    const auto one = *waiting_.begin();
    one->stop_waiting();
  }
}

}  // namespace orkestr::remote

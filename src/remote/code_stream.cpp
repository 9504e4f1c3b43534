// The stream of a run; what its lines say is code.cpp's.
#include <fmt/format.h>

#include "remote/code.hpp"
#include "remote/event_feed.hpp"
#include "remote/requests.hpp"

namespace orkestr::remote {
namespace {

class CodeFeed final : public EventFeed {
 public:
  CodeFeed(std::shared_ptr<Api> api, ApiRequest request, std::shared_ptr<Pipe> pipe)
      : EventFeed(std::move(api), std::move(request), std::move(pipe), "code", kMaxCodeAnswer) {}

 private:
  void take(std::string_view line, const AnswerContext& context) override {
    auto decoded = decode_code_line(line, context);
    if (!decoded) return fail(decoded.error());
    if (!decoded->event) return;
    CodeEvent& event = *decoded->event;
    started_ = true;
    switch (event.kind) {
      case CodeEvent::Kind::output:
        (event.stream == OutputStream::standard_output ? all_.stdout_data : all_.stderr_data) += event.text;
        bytes_ += event.text.size();
        break;
      case CodeEvent::Kind::result:
        all_.results.push_back(event.result);
        bytes_ += sizeof(CodeResult) + bytes_of(event.result);
        break;
      case CodeEvent::Kind::error:
        if (decoded->refusal.empty()) break;
        over_ = true;
        return pipe_->fail(error_of_event(decoded->refusal, event.error.value));
      case CodeEvent::Kind::done:
        event.execution.results = std::move(all_.results);
        event.execution.stdout_data = std::move(all_.stdout_data);
        event.execution.stderr_data = std::move(all_.stderr_data);
        over_ = true;
        break;
    }
    if (bytes_ > kMaxCodeAnswer) {
      return fail(ErrorCode::api, fmt::format("the code's output and results have more than {} bytes; write large "
                                              "ones to a file; the code runs on until its timeout",
                                              kMaxCodeAnswer));
    }
    pipe_->deliver(std::move(event));
    if (over_) pipe_->finish();
  }

  CodeExecution all_;  // what came before `done`
  std::size_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<Stream> code_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, std::string_view code,
                                    const CodeOptions& options) {
  auto pipe = std::make_shared<Pipe>();
  auto feed = std::make_shared<CodeFeed>(std::move(api), run_code_request(sandbox_id, code, options, true), pipe);
  feed->start(options.timeout);
  return std::make_unique<PipeStream>(std::move(pipe));
}

}  // namespace orkestr::remote

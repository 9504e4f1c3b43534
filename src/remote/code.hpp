// The code interpreter over the wire: what it answers, as values (pure functions), and the stream of a run.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend.hpp"
#include "base/json.hpp"
#include "remote/api.hpp"
#include "remote/fields.hpp"

namespace orkestr::remote {

// Of a whole answer, and of all that a stream brings: images and frames add up.
inline constexpr std::size_t kMaxCodeAnswer = 64U << 20U;

Result<CodeExecution> decode_execution(const base::JsonValue& json, const AnswerContext& context);
Result<CodeContextInfo> decode_context(const base::JsonValue& json, const AnswerContext& context);
Result<std::vector<CodeContextInfo>> decode_contexts(const base::JsonValue& json, const AnswerContext& context);

// One line of the stream; no event for what is to be skipped. Of a `done` the execution has what the line itself says,
// without what came before. `refusal` is the code of an error that ends the call, with the error's value as its text.
struct CodeLine {
  std::optional<CodeEvent> event;
  std::string refusal;
};
Result<CodeLine> decode_code_line(std::string_view line, const AnswerContext& context);

std::unique_ptr<Stream> code_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, std::string_view code,
                                    const CodeOptions& options);

}  // namespace orkestr::remote

// Templates for decoders: one object, or an array of them.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "remote/fields.hpp"

namespace orkestr::remote {

template <class T>
Result<T> unless_bad(const Fields& fields, T value) {
  if (fields.error()) return *fields.error();
  return value;
}

template <class T, class Decode>
Result<T> decode_object(const base::JsonValue& json, const AnswerContext& context, Decode decode) {
  Fields fields(json, context);
  T value = decode(fields);
  return unless_bad(fields, std::move(value));
}

// Every element of `field` by `decode`, or the first error.
template <class T, class Decode>
Result<std::vector<T>> decode_array(const base::JsonValue& json, const AnswerContext& context, std::string_view field,
                                    Decode decode) {
  Fields fields(json, context);
  if (!fields.has(field)) fields.fail(field, "is missing");
  std::vector<T> all;
  const auto& items = fields.array(field);
  all.reserve(items.size());
  for (std::size_t i = 0; i < items.size() && !fields.error(); ++i) {
    Fields item = fields.item(items[i], field, i);
    all.push_back(decode(item));
    fields.adopt(item);
  }
  return unless_bad(fields, std::move(all));
}

}  // namespace orkestr::remote

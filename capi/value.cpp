#include "value.hpp"

#include <chrono>

#include "guard.hpp"

namespace orkestr::capi {

Node::~Node() = default;
Node::Node(Node&&) noexcept = default;
Node& Node::operator=(Node&&) noexcept = default;

Node Node::time(TimePoint value) {
  return {ORKESTR_TYPE_TIME,
          std::int64_t{std::chrono::floor<std::chrono::milliseconds>(value).time_since_epoch().count()}};
}

void Node::append(std::string name, Node item) {
  std::get<Children>(data_).push_back({std::move(name), std::make_unique<orkestr_value>(std::move(item), kInnerTag)});
}
Node&& Node::add(Node item) && {
  append({}, std::move(item));
  return std::move(*this);
}
Node&& Node::add(std::string name, Node item) && {
  append(std::move(name), std::move(item));
  return std::move(*this);
}

std::size_t Node::count() const {
  const auto* children = std::get_if<Children>(&data_);
  return children == nullptr ? 0 : children->size();
}
const orkestr_value* Node::child(std::size_t index) const {
  return index < count() ? std::get<Children>(data_)[index].value.get() : nullptr;
}
const std::string* Node::name(std::size_t index) const {
  return type_ == ORKESTR_TYPE_RECORD && index < count() ? &std::get<Children>(data_)[index].name : nullptr;
}
const orkestr_value* Node::find(std::string_view name) const {
  if (type_ != ORKESTR_TYPE_RECORD) return nullptr;
  for (const Child& child : std::get<Children>(data_)) {
    if (child.name == name) return child.value.get();
  }
  return nullptr;
}

orkestr_value* make_value(std::optional<Node> node) {
  return node ? std::make_unique<orkestr_value>(std::move(*node), kRootTag).release() : nullptr;
}

namespace {

// Nothing for what is no live value, and for a field that is not there.
const orkestr_value* value_of(const orkestr_value* value, const char* field) {
  if (value == nullptr) return nullptr;
  const auto tag = value->tag.load(std::memory_order_acquire);
  if (tag != kRootTag && tag != kInnerTag) return nullptr;
  return field == nullptr ? value : value->node.find(field);
}
const Node* find(const orkestr_value* value, const char* field) {
  const orkestr_value* found = value_of(value, field);
  return found == nullptr ? nullptr : &found->node;
}

}  // namespace
}  // namespace orkestr::capi

using namespace orkestr::capi;

orkestr_type orkestr_value_type(const orkestr_value* value, const char* field) {
  const Node* node = find(value, field);
  return node == nullptr ? ORKESTR_TYPE_NONE : node->type();
}

int64_t orkestr_value_integer(const orkestr_value* value, const char* field) {
  const Node* node = find(value, field);
  const std::int64_t* integer = node == nullptr ? nullptr : node->as_integer();
  return integer == nullptr ? 0 : *integer;
}

double orkestr_value_number(const orkestr_value* value, const char* field) {
  const Node* node = find(value, field);
  if (node == nullptr) return 0;
  if (const double* number = node->as_number()) return *number;
  return node->type() == ORKESTR_TYPE_INTEGER ? static_cast<double>(*node->as_integer()) : 0;
}

const char* orkestr_value_bytes(const orkestr_value* value, const char* field, size_t* length) {
  const Node* node = find(value, field);
  const std::string* text = node == nullptr ? nullptr : node->as_text();
  if (length != nullptr) *length = text == nullptr ? 0 : text->size();
  return text == nullptr ? "" : text->c_str();
}

const char* orkestr_value_text(const orkestr_value* value, const char* field) {
  return orkestr_value_bytes(value, field, nullptr);
}

const orkestr_value* orkestr_value_field(const orkestr_value* value, const char* field) {
  return field == nullptr ? nullptr : value_of(value, field);
}

size_t orkestr_value_count(const orkestr_value* value, const char* field) {
  const Node* node = find(value, field);
  return node == nullptr ? 0 : node->count();
}

const orkestr_value* orkestr_value_at(const orkestr_value* value, const char* field, size_t index) {
  const Node* node = find(value, field);
  return node == nullptr ? nullptr : node->child(index);
}

const char* orkestr_value_name(const orkestr_value* value, const char* field, size_t index) {
  const Node* node = find(value, field);
  const std::string* name = node == nullptr ? nullptr : node->name(index);
  return name == nullptr ? nullptr : name->c_str();
}

void orkestr_value_free(orkestr_value* value) {
  std::uint32_t expected = kRootTag;
  if (value == nullptr || !value->tag.compare_exchange_strong(expected, kFreed)) return;
  value->node = Node();
  retire(std::unique_ptr<Shell>(value));
}

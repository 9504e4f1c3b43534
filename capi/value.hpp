// Values: what operations give. A tree of records, lists and items, built from the library's structs (records.cpp) and
// read with the orkestr_value_… functions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/orkestr.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "handle.hpp"
#include "orkestr.h"

namespace orkestr::capi {

// One node. The nodes inside a tree are given out as pointers too, so each is a handle; only the root can be freed.
class Node {
 public:
  Node() = default;  // null
  static Node flag(bool value) { return {ORKESTR_TYPE_FLAG, std::int64_t{value}}; }
  static Node integer(std::int64_t value) { return {ORKESTR_TYPE_INTEGER, value}; }
  static Node number(double value) { return {ORKESTR_TYPE_NUMBER, value}; }
  static Node time(TimePoint value);
  static Node text(std::string value) { return {ORKESTR_TYPE_TEXT, std::move(value)}; }
  static Node text(std::string_view value) { return text(std::string(value)); }
  static Node bytes(std::string value) { return {ORKESTR_TYPE_BYTES, std::move(value)}; }
  static Node list() { return {ORKESTR_TYPE_LIST, Children()}; }
  static Node record() { return {ORKESTR_TYPE_RECORD, Children()}; }

  // Appends to a list or a record.
  Node&& add(Node item) &&;
  Node&& add(std::string name, Node item) &&;
  void append(std::string name, Node item);

  orkestr_type type() const { return type_; }
  // Nothing for a type that has none.
  const std::int64_t* as_integer() const { return std::get_if<std::int64_t>(&data_); }
  const double* as_number() const { return std::get_if<double>(&data_); }
  const std::string* as_text() const { return std::get_if<std::string>(&data_); }
  std::size_t count() const;
  const orkestr_value* child(std::size_t index) const;
  const std::string* name(std::size_t index) const;
  const orkestr_value* find(std::string_view name) const;

 private:
  struct Child {
    std::string name;
    std::unique_ptr<orkestr_value> value;
  };
  using Children = std::vector<Child>;
  using Data = std::variant<std::monostate, std::int64_t, double, std::string, Children>;
  Node(orkestr_type type, Data data) : type_(type), data_(std::move(data)) {}

  orkestr_type type_ = ORKESTR_TYPE_NULL;
  Data data_;

 public:
  ~Node();
  Node(Node&&) noexcept;
  Node& operator=(Node&&) noexcept;
};

inline constexpr std::uint32_t kRootTag = 0x6f76616c;
inline constexpr std::uint32_t kInnerTag = 0x6f766172;  // borrowed: cannot be freed

// What an operation that gives "nothing" gives is NULL.
orkestr_value* make_value(std::optional<Node> node);

}  // namespace orkestr::capi

struct orkestr_value : orkestr::capi::Shell {
  orkestr_value(orkestr::capi::Node its_node, std::uint32_t its_tag) : Shell(its_tag), node(std::move(its_node)) {}
  orkestr::capi::Node node;
};

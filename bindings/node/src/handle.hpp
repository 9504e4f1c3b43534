// Objects of the library in the hands of JavaScript: an empty object that owns the C++ value and carries a type tag.
//
// The tag is an address inside this copy of the addon. So a handle of another type, of another copy of the package in
// the same process, or any other object is refused by name instead of being taken for what it is not.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <orkestr/client.hpp>
#include <string>
#include <utility>

namespace orkestr::node {

template <class T>
inline const napi_type_tag* tag_of() {
  static const char kMark = 0;
  static const napi_type_tag kTag{reinterpret_cast<std::uintptr_t>(&kMark), 0x6f726b657374723aULL};
  return &kTag;
}

template <class T>
Napi::Object make_handle(Napi::Env env, T value) {
  const Napi::Object object = Napi::Object::New(env);
  auto owned = std::make_unique<T>(std::move(value));
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  if (napi_wrap(env, object, owned.get(), finalize, nullptr, nullptr) != napi_ok) throw Napi::Error::New(env);
  (void)owned.release();
  if (napi_type_tag_object(env, object, tag_of<T>()) != napi_ok) throw Napi::Error::New(env);
  return object;
}

template <class T>
T& of_handle(const Napi::Value& value, const char* name) {
  bool same = false;
  void* data = nullptr;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, tag_of<T>(), &same) != napi_ok || !same ||
      napi_unwrap(value.Env(), value, &data) != napi_ok) {
    throw Napi::TypeError::New(value.Env(), std::string(name) +
                                                " does not belong to this copy of the orkestr package; allowed: an "
                                                "object that it made itself");
  }
  return *static_cast<T*>(data);
}

// The client that a static call is to use. undefined and null: none in particular.
inline std::optional<Client> client_of(const Napi::Value& value) {
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  return of_handle<Client>(value, "client");
}

}  // namespace orkestr::node

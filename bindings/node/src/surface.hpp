// What the module exports, by file.
#pragma once

#include <napi.h>

namespace orkestr::node {

void export_sandboxes(Napi::Env env, Napi::Object exports);
void export_streams(Napi::Env env, Napi::Object exports);
void export_files(Napi::Env env, Napi::Object exports);
void export_commands(Napi::Env env, Napi::Object exports);
void export_code(Napi::Env env, Napi::Object exports);
void export_templates(Napi::Env env, Napi::Object exports);
void export_account(Napi::Env env, Napi::Object exports);
void export_host(Napi::Env env, Napi::Object exports);

// A function of the module: receives CallbackInfo, returns a value.
template <class Function>
void add(Napi::Object exports, const char* name, Function function) {
  exports.Set(name, Napi::Function::New(exports.Env(), function, name));
}

}  // namespace orkestr::node

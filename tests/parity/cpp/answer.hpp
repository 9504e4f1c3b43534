// Values of the library as the JSON of tests/parity/calls.json.
#pragma once

#include <string>
#include <vector>

#include "base/json.hpp"
#include "orkestr/orkestr.hpp"

namespace orkestr::parity {

// What stream.read has read.
struct Output {
  std::string out, err;
  std::optional<ExecChunk> final;
};

struct Bytes {
  std::string data;
};

void put(base::JsonWriter& json, const Bytes& value);
void put(base::JsonWriter& json, const std::string& value);
void put(base::JsonWriter& json, bool value);
void put(base::JsonWriter& json, const Client& value);
void put(base::JsonWriter& json, const SandboxInfo& value);
void put(base::JsonWriter& json, const ExecResult& value);
void put(base::JsonWriter& json, const Output& value);
void put(base::JsonWriter& json, const CommandInfo& value);
void put(base::JsonWriter& json, const CommandLogs& value);
void put(base::JsonWriter& json, const CodeExecution& value);
void put(base::JsonWriter& json, const CodeEvent& value);
void put(base::JsonWriter& json, const CodeContextInfo& value);
void put(base::JsonWriter& json, const Event& value);
void put(base::JsonWriter& json, const FileEntry& value);
void put(base::JsonWriter& json, const FileStat& value);
void put(base::JsonWriter& json, const BatchWriteResult& value);
void put(base::JsonWriter& json, const PresignedUrl& value);
void put(base::JsonWriter& json, const Metrics& value);
void put(base::JsonWriter& json, const Limits& value);
void put(base::JsonWriter& json, const SnapshotInfo& value);
void put(base::JsonWriter& json, const VolumeInfo& value);
void put(base::JsonWriter& json, const WebhookInfo& value);
void put(base::JsonWriter& json, const TemplateInfo& value);
void put(base::JsonWriter& json, int value);
void put(base::JsonWriter& json, const PoolInfo& value);
void put(base::JsonWriter& json, const Error& value);

template <class T>
void put(base::JsonWriter& json, const std::vector<T>& values) {
  json.begin_array();
  for (const T& value : values) put(json, value);
  json.end_array();
}

}  // namespace orkestr::parity

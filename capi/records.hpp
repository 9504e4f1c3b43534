// The library's structs as values. The names of the fields are those of the Python classes and of orkestr.h.
#pragma once

#include <orkestr/orkestr.hpp>
#include <string>
#include <vector>

#include "value.hpp"

namespace orkestr::capi {

Node to_node(const SandboxInfo& info);
Node to_node(ExecResult result);
// The next piece of an exec stream or of a file (which is "stdout" and never final).
Node to_node(ExecChunk chunk);
Node to_node(CodeExecution execution);
Node to_node(CodeEvent event);
Node to_node(const CodeContext& context);
Node to_node(const CommandInfo& info);
Node to_node(CommandLogs logs);
Node to_node(const Event& event);
Node to_node(const FileEntry& entry);
Node to_node(const FileStat& stat);
Node to_node(const BatchWriteResult& result);
Node to_node(const PresignedUrl& url);
Node to_node(const Metrics& metrics);
Node to_node(const Limits& limits);
Node to_node(const SnapshotInfo& info);
Node to_node(const VolumeInfo& info);
Node to_node(const WebhookInfo& info);
Node to_node(const TemplateInfo& info);
Node to_node(const TemplateProgress& progress);
Node to_node(const Finding& finding);
Node to_node(const GcReport& report);
Node to_node(const PoolInfo& info);
// The details of an error; `hint` as orkestr_error_hint() gives it.
Node to_node(const Error& error);

inline Node to_node(const std::string& text) { return Node::text(text); }

template <class Item>
Node to_node(const std::vector<Item>& items) {
  Node list = Node::list();
  for (const Item& item : items) list.append({}, to_node(item));
  return list;
}

}  // namespace orkestr::capi

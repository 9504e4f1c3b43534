// The links of one client, so that each is shut down with it, and let go of on the I/O thread, to which it belongs.
//
// A session's link is held strongly until that thread releases it: a session that is dropped while the thread shuts
// down (and takes no more tasks) must not take the link with it. A released link lives on as long as calls hold it.
//
// Thread safety: any thread, except where noted.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "local/link.hpp"

namespace orkestr::local {

class LinkTable {
 public:
  void add(const std::shared_ptr<Link>& link) {
    std::lock_guard lock(mutex_);
    std::erase_if(entries_, [](const Entry& entry) { return !entry.held && entry.link.expired(); });
    entries_.push_back({link, link});
  }

  // I/O thread.
  void release(const std::shared_ptr<Link>& link) {
    std::shared_ptr<Link> dying;  // outside the lock
    std::lock_guard lock(mutex_);
    for (Entry& entry : entries_) {
      if (entry.held == link) dying = std::move(entry.held);
    }
  }

  // All that live, for the last time. I/O thread.
  std::vector<std::shared_ptr<Link>> take_all() {
    std::vector<Entry> entries;
    {
      std::lock_guard lock(mutex_);
      entries.swap(entries_);
    }
    std::vector<std::shared_ptr<Link>> links;
    for (const Entry& entry : entries) {
      if (auto link = entry.link.lock()) links.push_back(std::move(link));
    }
    return links;
  }

 private:
  struct Entry {
    std::shared_ptr<Link> held;
    std::weak_ptr<Link> link;
  };
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace orkestr::local

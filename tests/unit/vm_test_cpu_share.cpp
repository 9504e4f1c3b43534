// A fraction of a CPU, on a made-up cgroup tree: on machines without a delegated one there is nothing else to test
// with.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "base/file.hpp"
#include "vm/cpu_share.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;

namespace {

struct Tree {
  test::TemporaryDirectory dir;
  CgroupPlaces places;

  // The caller lives in /slice/own; /slice hands down `controllers`.
  explicit Tree(const std::string& controllers, const std::string& own = "0::/slice/own\n") {
    REQUIRE(base::make_directories(dir.path + "/mount/slice/own", 0755));
    put("mount/slice/cgroup.subtree_control", controllers);
    put("own", own);
    places.mount = dir.path + "/mount";
    places.own = dir.path + "/own";
  }
  void put(const std::string& name, const std::string& text) {
    REQUIRE(base::write_file_atomic(dir.path + "/" + name, text, 0644));
  }
  std::string content(const std::string& name) {
    auto text = base::read_file(dir.path + "/" + name);
    return text ? *text : "(missing)";
  }
  std::string refusal() {
    auto share = CpuShare::create(places, "sbx_a", 0.5, 1024);
    REQUIRE_FALSE(share);
    CHECK(share.error().code() == ErrorCode::not_supported);
    return share.error().message();
  }
};

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("cpu share: a cgroup beside the caller's own, with quota and process") {
  Tree tree("cpuset cpu io memory\n", "12:cpu:/legacy\n0::/slice/own\n");
  {
    auto share = CpuShare::create(tree.places, "sbx_a", 0.5, 1024);
    REQUIRE_MESSAGE(share, (share ? "" : share.error().message()));
    CHECK(share->path() == tree.dir.path + "/mount/slice/orkestr-sbx_a");
    CHECK(tree.content("mount/slice/orkestr-sbx_a/cpu.max") == "50000 100000");
    CHECK(tree.content("mount/slice/orkestr-sbx_a/memory.max") == std::to_string((1024 + 256) * 1024 * 1024));
    REQUIRE(share->add(1234));
    CHECK(tree.content("mount/slice/orkestr-sbx_a/cgroup.procs") == "1234");
    // A real cgroup's files do not keep its directory from being removed.
    for (const char* file : {"/cpu.max", "/memory.max"}) REQUIRE(base::remove_tree(share->path() + file));
    REQUIRE(base::remove_tree(share->path() + "/cgroup.procs"));
  }
  CHECK_FALSE(base::exists(tree.dir.path + "/mount/slice/orkestr-sbx_a"));
}

TEST_CASE("cpu share: the least and the many, in a directory of one's own choice") {
  Tree tree("cpu\n", "");
  tree.places.configured = tree.dir.path + "/mount/slice";
  auto least = CpuShare::create(tree.places, "least", 0.001, 128);
  auto many = CpuShare::create(tree.places, "many", 12.25, 128);
  REQUIRE(least);
  REQUIRE(many);
  CHECK(tree.content("mount/slice/orkestr-least/cpu.max") == "1000 100000");
  CHECK(tree.content("mount/slice/orkestr-many/cpu.max") == "1225000 100000");
  CHECK(tree.content("mount/slice/orkestr-many/memory.max") == "(missing)");  // that controller is not handed down
}

TEST_CASE("cpu share: where none can be had, the reason") {
  CHECK(says(Tree("cpuset io memory\n").refusal(), "does not hand the cpu controller"));
  CHECK(says(Tree("").refusal(), "does not hand the cpu controller"));
  CHECK(says(Tree("cpu\n", "3:cpu:/legacy\n").refusal(), "in no cgroup of version 2"));
  Tree elsewhere("cpu\n");
  elsewhere.places.mount = elsewhere.dir.path + "/gone";
  CHECK(says(elsewhere.refusal(), "/gone/slice is no cgroup of version 2"));
  Tree taken("cpu\n");
  REQUIRE(base::make_directories(taken.dir.path + "/mount/slice/orkestr-sbx_a", 0755));
  CHECK(says(taken.refusal(), "cannot make"));
}

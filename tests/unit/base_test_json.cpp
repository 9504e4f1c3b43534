// JSON: what is written, what is read, and what a hostile author gets.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/system.hpp"
#include "base_test_support.hpp"

using namespace orkestr;
using namespace orkestr::base;
using orkestr::base_test::must;
using Kind = JsonValue::Kind;

namespace {

std::string encode(std::string_view text) { return JsonWriter().value(text).take(); }

void write_value(JsonWriter& out, const JsonValue& value) {
  switch (value.kind()) {
    case Kind::null:
      out.null();
      break;
    case Kind::boolean:
      out.value(*value.boolean());
      break;
    case Kind::integer:
      out.value(*value.integer());
      break;
    case Kind::number:
      out.value(*value.number());
      break;
    case Kind::string:
      out.value(*value.string());
      break;
    case Kind::array:
      out.begin_array();
      for (const auto& item : value.items()) write_value(out, item);
      out.end_array();
      break;
    case Kind::object:
      out.begin_object();
      for (const auto& [name, member] : value.members()) {
        out.key(name);
        write_value(out, member);
      }
      out.end_object();
      break;
  }
}

std::string round_trip(std::string_view text) {
  JsonWriter out;
  write_value(out, must(JsonValue::parse(text)));
  return out.take();
}

std::string nested(int levels) { return std::string(levels, '[') + std::string(levels, ']'); }

}  // namespace

TEST_CASE("writer: order, commas, every kind of value") {
  JsonWriter out;
  out.begin_object()
      .field("z", 1)
      .field("a", "text")
      .field("s", std::string("string"))
      .field("v", std::string_view("view"))
      .field("t", true)
      .field("i", std::int64_t{INT64_MIN})
      .field("u", std::uint64_t{UINT64_MAX})
      .field("n", 7U)
      .field("l", 8LL)
      .field("d", 0.1)
      .key("nothing")
      .null()
      .key("list")
      .begin_array()
      .value(1)
      .begin_object()
      .end_object()
      .begin_array()
      .end_array()
      .value(false)
      .end_array()
      .key("raw")
      .raw("{\"x\":1}")
      .end_object();
  CHECK(
      out.str() ==
      R"({"z":1,"a":"text","s":"string","v":"view","t":true,"i":-9223372036854775808,"u":18446744073709551615,"n":7,"l":8,)"
      R"("d":0.1,"nothing":null,"list":[1,{},[],false],"raw":{"x":1}})");
  CHECK(JsonWriter().value(1).str() == "1");
}

TEST_CASE("writer: strings are escaped as RFC 8259 asks") {
  CHECK(encode("a\"b\\c/d") == R"("a\"b\\c/d")");
  CHECK(encode(std::string_view("\0\b\t\n\v\f\r\x1f\x7f", 9)) == "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\"");
  CHECK(encode("é€😀") == "\"é€😀\"");
  CHECK(JsonWriter().begin_object().key("a\"\n").value(1).end_object().str() == R"({"a\"\n":1})");
}

TEST_CASE("writer: invalid UTF-8 becomes U+FFFD, once for each maximal part") {
  const std::string r = "\xef\xbf\xbd";
  CHECK(encode("a\xff"
               "b") == "\"a" + r + "b\"");
  CHECK(encode("\x80") == "\"" + r + "\"");
  CHECK(encode("\xc0\xaf") == "\"" + r + r + "\"");                  // overlong "/"
  CHECK(encode("\xe0\x80\xaf") == "\"" + r + r + r + "\"");          // overlong
  CHECK(encode("\xed\xa0\x80") == "\"" + r + r + r + "\"");          // surrogate
  CHECK(encode("\xf4\x90\x80\x80") == "\"" + r + r + r + r + "\"");  // beyond U+10FFFF
  CHECK(encode("\xe2\x82") == "\"" + r + "\"");                      // cut off at the end
  CHECK(encode("\xf0\x9f\x98x") == "\"" + r + "x\"");                // cut off by a letter
  CHECK(encode("\xf0\x9f\x98\xf0\x9f\x98\x80") == "\"" + r + "\xf0\x9f\x98\x80\"");
  // Whatever the bytes, what is written can be read.
  for (int i = 0; i < 200; ++i) {
    auto bytes = random_bytes(64);
    CHECK(must(JsonValue::parse(encode(bytes))).kind() == Kind::string);
  }
}

TEST_CASE("writer: doubles") {
  auto text = [](double d) { return JsonWriter().value(d).take(); };
  CHECK(text(0.1 + 0.2) == "0.30000000000000004");
  CHECK(text(1e300) == "1e+300");
  CHECK(text(-0.5) == "-0.5");
  CHECK(text(std::nan("")) == "null");
  CHECK(text(-std::numeric_limits<double>::infinity()) == "null");
  for (double d : {1.0 / 3, 5e-324, std::numeric_limits<double>::max(), 123456789.123, 2.5e-8}) {
    CHECK(must(JsonValue::parse(text(d))).number() == d);
  }
}

TEST_CASE("reader: kinds and typed access") {
  auto v = must(
      JsonValue::parse(R"( {"n":null,"t":true,"i":-5,"d":2.5,"w":3.0,"e":1e2,"s":"x","a":[1,"2"],"o":{"k":"v"}} )"));
  CHECK(v.kind() == Kind::object);
  CHECK(v["n"].is_null());
  CHECK(v["t"].boolean() == true);
  CHECK(v["i"].integer() == -5);
  CHECK(v["i"].number() == -5.0);
  CHECK(v["d"].number() == 2.5);
  CHECK_FALSE(v["d"].integer().has_value());
  CHECK(v["w"].kind() == Kind::number);
  CHECK(v["w"].integer() == 3);
  CHECK(v["e"].integer() == 100);
  CHECK(v["s"].string() == "x");
  CHECK(v["a"].items().size() == 2);
  CHECK(v["a"].items()[1].string() == "2");
  CHECK(v["o"]["k"].string() == "v");
  CHECK(v["missing"].is_null());
  CHECK(v["s"]["deeper"]["still"].is_null());
  CHECK(v["s"].items().empty());
  CHECK_FALSE(v["s"].integer().has_value());
  CHECK_FALSE(v["i"].string().has_value());
  CHECK_FALSE(v["i"].boolean().has_value());
  CHECK_FALSE(v["n"].number().has_value());
  CHECK(v.string_or("s", "y") == "x");
  CHECK(v.string_or("i", "y") == "y");
  CHECK(v.integer_or("i", 1) == -5);
  CHECK(v.integer_or("d", 1) == 1);
  CHECK(v.boolean_or("t", false));
  CHECK(v.boolean_or("missing", true));
  std::vector<std::string> names;
  for (const auto& member : v.members()) names.push_back(member.first);
  CHECK(names == std::vector<std::string>{"n", "t", "i", "d", "w", "e", "s", "a", "o"});
}

TEST_CASE("reader: a value outlives its text") {
  auto text = std::make_unique<std::string>(R"({"key":"a long enough value to be on the heap"})");
  auto value = must(JsonValue::parse(*text));
  text.reset();
  CHECK(value["key"].string() == "a long enough value to be on the heap");
}

TEST_CASE("reader: any value may be the root") {
  CHECK(must(JsonValue::parse("null")).is_null());
  CHECK(must(JsonValue::parse(" true ")).boolean() == true);
  CHECK(must(JsonValue::parse("false\n")).boolean() == false);
  CHECK(must(JsonValue::parse("42")).integer() == 42);
  CHECK(must(JsonValue::parse("-0.5e1")).number() == -5.0);
  CHECK(must(JsonValue::parse("\"\"")).string() == "");
  CHECK(must(JsonValue::parse("[]")).kind() == Kind::array);
  CHECK(must(JsonValue::parse("{}")).kind() == Kind::object);
}

TEST_CASE("reader: numbers at the edge of 64 bits") {
  CHECK(must(JsonValue::parse("9223372036854775807")).integer() == INT64_MAX);
  CHECK(must(JsonValue::parse("-9223372036854775808")).integer() == INT64_MIN);
  for (const char* big : {"9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616",
                          "1234567890123456789012345678901234567890"}) {
    CAPTURE(big);
    auto value = must(JsonValue::parse(big));
    CHECK(value.kind() == Kind::number);
    CHECK(value.number() == std::stod(big));
    CHECK_FALSE(value.integer().has_value());
  }
  CHECK_FALSE(must(JsonValue::parse("1e300")).integer().has_value());
  CHECK(must(JsonValue::parse("1e-400")).number() == 0.0);
  CHECK_FALSE(JsonValue::parse("1e400").ok());
}

TEST_CASE("reader: strings") {
  CHECK(must(JsonValue::parse(R"("\u0041\n\/\\\"\u00e9\ud83d\ude00")")).string() == "A\n/\\\"é😀");
  auto nul = must(JsonValue::parse(R"({"a\u0000b":"\u0000"})"));
  CHECK(nul.members()[0].first == std::string_view("a\0b", 3));
  CHECK(nul.members()[0].second.string() == std::string_view("\0", 1));
  CHECK(nul["a"].is_null());
}

TEST_CASE("reader: of duplicate names the first counts, all are kept") {
  auto v = must(JsonValue::parse(R"({"a":1,"a":2,"\u0061":3})"));
  CHECK(v["a"].integer() == 1);
  CHECK(v.members().size() == 3);
}

TEST_CASE("reader: what is no JSON") {
  for (std::string_view bad : {
           "",
           " ",
           "{",
           "}",
           "[",
           "]",
           "[1",
           "[1,",
           "[1,]",
           "[,1]",
           "[1 2]",
           "[1}",
           "{]",
           "{\"a\"}",
           "{\"a\":}",
           "{\"a\":1,}",
           "{\"a\" 1}",
           "{a:1}",
           "{1:1}",
           "{\"a\":1 \"b\":2}",
           "\"",
           "\"abc",
           "'a'",
           "tru",
           "truex",
           "nul",
           "nullx",
           "falsey",
           "True",
           "NaN",
           "Infinity",
           "01",
           "-",
           "+1",
           "1.",
           ".5",
           "1e",
           "1e+",
           "0x10",
           "1_000",
           "--1",
           "1 2",
           "1,2",
           "{} {}",
           "[]]",
           "1]",
           "1],[2",
           "],[",
           "1]x[2",
           "\"a\"b",
           "\"\\x\"",
           "\"\\u12\"",
           "\"\\ud800\"",
           "\"\\ud800\\u0041\"",
           "\"\\udc00\"",
           "\"a\nb\"",
           "\"\x01\"",
           "// c\n1",
           "[1] //",
           "\xef\xbb\xbf{}",
           "{\"a\":1}}",
           "[[]",
           "{\"a\":[}",
           ":",
           ",",
           "null null",
           "[nullx]",
           "[truefalse]",
           "[1a]",
           "[\"a\"\"b\"]",
           "{\"a\":1,,\"b\":2}",
       }) {
    CAPTURE(bad);
    CHECK_FALSE(JsonValue::parse(bad).ok());
  }
  CHECK_FALSE(JsonValue::parse(std::string_view("\0", 1)).ok());
  CHECK_FALSE(JsonValue::parse(std::string_view("1\0", 2)).ok());
  CHECK_FALSE(JsonValue::parse(std::string_view("[1]\0", 4)).ok());
  CHECK_FALSE(JsonValue::parse(std::string_view("\"a\0b\"", 5)).ok());
  CHECK_FALSE(JsonValue::parse("\"\xff\"").ok());
  CHECK_FALSE(JsonValue::parse("{\"\xc0\xaf\":1}").ok());
  CHECK_FALSE(JsonValue::parse("\"\xed\xa0\x80\"").ok());
}

TEST_CASE("reader: every prefix of a document is refused") {
  std::string whole = R"({"a":[1,2.5e3,{"b":"\u00e9\\"}],"c":null,"d":true})";
  REQUIRE(JsonValue::parse(whole).ok());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(JsonValue::parse(whole.substr(0, n)).ok());
  }
}

TEST_CASE("reader: 64 levels and no more, however deep the text goes") {
  CHECK(JsonValue::parse(nested(64)).ok());
  CHECK_FALSE(JsonValue::parse(nested(65)).ok());
  CHECK_FALSE(JsonValue::parse(nested(100'000)).ok());
  CHECK_FALSE(JsonValue::parse(std::string(1'000'000, '[')).ok());
  std::string objects;
  for (int i = 0; i < 64; ++i) objects += "{\"a\":";
  CHECK(JsonValue::parse(objects + "1" + std::string(64, '}')).ok());
  CHECK_FALSE(JsonValue::parse("[" + objects + "1" + std::string(64, '}') + "]").ok());
  CHECK(JsonValue::parse(nested(65)).error().message().find("deep") != std::string::npos);
}

TEST_CASE("reader: 16 MiB and no more") {
  const std::size_t cap = 16U << 20U;
  auto text = [](std::size_t size) { return "\"" + std::string(size - 2, 'x') + "\""; };
  CHECK(must(JsonValue::parse(text(cap))).string()->size() == cap - 2);
  CHECK(JsonValue::parse(text(cap + 1)).error().message() == "JSON of 16777217 bytes: at most 16777216 are read");
}

TEST_CASE("reader: values are much larger than their text, so there is a limit to their number") {
  std::string many = "[0";
  for (std::size_t i = 2; i < JsonValue::kMaxValues; ++i) many += ",0";
  CHECK(JsonValue::parse(many + "]").ok());
  CHECK_FALSE(JsonValue::parse(many + ",0]").ok());
}

TEST_CASE("a value as text: without blanks, and its numbers as they came") {
  const std::string text =
      R"({"b":[1,-2.5,null,true,"ü\n",{}],"a":{"a":[],"b":1e300},"":[12345678901234567890,2.0,-0.0]})";
  CHECK(JsonValue::parse(" " + text + "\n").value().text() == text);
  CHECK(JsonValue::parse(" [ 1E5 , 2.0\n, 9223372036854775807 ] ").value().text() == "[1E5,2.0,9223372036854775807]");
  CHECK(JsonValue::parse("3").value().text() == "3");
  CHECK(JsonValue::parse("3.0 ").value().text() == "3.0");
}
TEST_CASE("reader: the error names the place") {
  auto message = [](std::string_view text) { return JsonValue::parse(text).error().message(); };
  CHECK(message("[1, 2, x]").find("at byte 7 of 9") != std::string::npos);
  CHECK(message("\"ab\xff\"").find("at byte 3 of 5") != std::string::npos);
  CHECK(message("{\"a\":1} 2").find("at byte 8 of 9") != std::string::npos);
  CHECK(message("").find("of 0") != std::string::npos);
  CHECK(JsonValue::parse("x").error().code() == ErrorCode::internal);
}

TEST_CASE("what is written reads back the same") {
  for (std::string_view text : {R"({"a":[1,-2,3.5,"x\ny",null,true,{"b":{}}],"z":[]})", "[]", "\"\\u0000\"",
                                "-9223372036854775808", R"([[[[1.5e-10]]]])", "18446744073709551616"}) {
    auto once = round_trip(text);
    CHECK(round_trip(once) == once);
  }
  CHECK(round_trip(R"( { "a" : [ 1 , 2 ] } )") == R"({"a":[1,2]})");
}

TEST_CASE("mutations of a document never crash and never change meaning") {
  const std::string seed =
      R"({"event":"STOP","data":{"n":[1,2.5,-3e2,"\u00e9\ud83d\ude00"],"ok":true,"none":null},"id":"sbx_1"})";
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = seed;
    auto random = random_bytes(9);
    int edits = 1 + (static_cast<unsigned char>(random[8]) & 1);
    for (int e = 0; e < edits; ++e) {
      auto at = static_cast<unsigned char>(random[4 * e]) % text.size();
      char byte = (random[4 * e + 2] & 1) != 0 ? random[4 * e + 1]
                                               : seed[static_cast<unsigned char>(random[4 * e + 1]) % seed.size()];
      switch (static_cast<unsigned char>(random[4 * e + 3]) % 3) {
        case 0:
          text[at] = byte;
          break;
        case 1:
          text.erase(at, 1);
          break;
        default:
          text.insert(at, 1, byte);
          break;
      }
    }
    auto parsed = JsonValue::parse(text);
    if (!parsed) continue;
    ++accepted;
    auto once = round_trip(text);
    CAPTURE(text);
    CHECK(round_trip(once) == once);
  }
  CHECK(accepted > 100);  // else the mutations are too wild to test anything
}

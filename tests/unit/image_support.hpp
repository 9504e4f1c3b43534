// What the image tests share: a directory of their own, and small made-up ELF files and kernels.
#pragma once

#include <elf.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <cstring>
#include <string>
#include <string_view>

#include "base/file.hpp"

namespace image_test {

class TempDirectory {
 public:
  TempDirectory() {
    char name[] = "/tmp/orkestr-image-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDirectory() { (void)orkestr::base::remove_tree(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

 private:
  std::string path_;
};

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline Elf64_Ehdr elf_header() {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_machine = EM_X86_64;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  return header;
}

// An ELF whose only segment holds one note.
inline std::string kernel_elf(std::uint32_t note_type = 18, std::string_view owner = std::string_view("Xen\0", 4)) {
  std::string note;
  append(note, Elf64_Nhdr{static_cast<Elf64_Word>(owner.size()), 4, note_type});
  note += owner;
  note.resize((note.size() + 3) & ~std::size_t{3});
  note += std::string("\x00\x00\x10\x00", 4);
  Elf64_Ehdr header = elf_header();
  header.e_phoff = sizeof header;
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = sizeof header + sizeof segment;
  segment.p_filesz = note.size();
  std::string out;
  append(out, header);
  append(out, segment);
  return out + note;
}

// A kernel module with "depends=DEPENDS".
inline std::string module_elf(std::string_view depends) {
  const std::string info = fmt::format("license=GPL{0}depends={1}{0}name=x{0}", '\0', depends);
  const std::string names = std::string("\0.modinfo\0.shstrtab\0", 20);
  Elf64_Ehdr header = elf_header();
  header.e_shnum = 3;
  header.e_shstrndx = 2;
  header.e_shoff = sizeof header + info.size() + names.size();
  Elf64_Shdr info_section{};
  info_section.sh_name = 1;
  info_section.sh_offset = sizeof header;
  info_section.sh_size = info.size();
  Elf64_Shdr names_section{};
  names_section.sh_name = 10;
  names_section.sh_offset = sizeof header + info.size();
  names_section.sh_size = names.size();
  std::string out;
  append(out, header);
  out += info + names;
  append(out, Elf64_Shdr{});
  append(out, info_section);
  append(out, names_section);
  return out;
}

// A bzImage with one setup sector and `payload` at the start of its protected-mode part. The kernel's build ends every
// payload but gzip's in the uncompressed size.
inline std::string bzimage(std::string_view payload, std::uint32_t payload_offset = 16) {
  std::string out(1024 + payload_offset, '\0');
  const auto put = [&](std::size_t at, auto value) { std::memcpy(out.data() + at, &value, sizeof value); };
  put(0x1f1, std::uint8_t{1});
  std::memcpy(out.data() + 0x202, "HdrS", 4);
  put(0x206, std::uint16_t{0x20f});
  put(0x248, payload_offset);
  put(0x24c, static_cast<std::uint32_t>(payload.size()));
  return out + std::string(payload);
}
inline std::string with_size(std::string payload, std::size_t size) {
  append(payload, static_cast<std::uint32_t>(size));
  return payload;
}

}  // namespace image_test

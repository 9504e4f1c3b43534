#include "image/elf.hpp"

#include <elf.h>
#include <fmt/format.h>

#include <cstring>
#include <optional>

#include "base/try.hpp"

namespace orkestr::image {
namespace {

Error malformed(std::string_view what) {
  return Error(ErrorCode::internal, fmt::format("not a usable x86-64 ELF file: {}", what));
}

// The bytes [offset, offset + size), when they are all there.
std::optional<std::string_view> slice(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.substr(offset, size);
}

template <class T>
std::optional<T> read_struct(std::string_view bytes, std::uint64_t offset) {
  auto part = slice(bytes, offset, sizeof(T));
  if (!part) return std::nullopt;
  T value;
  std::memcpy(&value, part->data(), sizeof(T));
  return value;
}

Result<Elf64_Ehdr> read_header(std::string_view elf) {
  auto header = read_struct<Elf64_Ehdr>(elf, 0);
  if (!header) return malformed("shorter than its header");
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return malformed("no ELF magic");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
      header->e_machine != EM_X86_64) {
    return malformed("not 64-bit little-endian x86-64");
  }
  return *header;
}

constexpr std::uint64_t align4(std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; }

bool has_pvh_note(std::string_view notes) {
  constexpr std::uint32_t kXenPhys32Entry = 18;
  constexpr std::string_view kXen("Xen\0", 4);
  std::uint64_t at = 0;
  while (auto note = read_struct<Elf64_Nhdr>(notes, at)) {
    at += sizeof(Elf64_Nhdr);
    auto owner = slice(notes, at, note->n_namesz);
    auto entry = slice(notes, at + align4(note->n_namesz), note->n_descsz);
    if (!owner || !entry) return false;
    if (note->n_type == kXenPhys32Entry && *owner == kXen && (entry->size() == 4 || entry->size() == 8)) return true;
    at += align4(note->n_namesz) + align4(note->n_descsz);
  }
  return false;
}

}  // namespace

Result<void> check_pvh_kernel(std::string_view elf) {
  ORKESTR_TRY(const Elf64_Ehdr header, read_header(elf));
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return malformed("unexpected size of its program headers");
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    // e_phoff is 64 bits from the file: the sum may wrap, so it is bounded first.
    if (header.e_phoff > elf.size()) return malformed("program headers beyond its end");
    auto segment = read_struct<Elf64_Phdr>(elf, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) return malformed("program headers beyond its end");
    if (segment->p_type != PT_NOTE) continue;
    auto notes = slice(elf, segment->p_offset, segment->p_filesz);
    if (!notes) return malformed("a note segment beyond its end");
    if (has_pvh_note(*notes)) return {};
  }
  return malformed("no PVH entry note (Xen, type 18): the kernel was built without CONFIG_PVH");
}

Result<std::vector<std::string>> module_depends(std::string_view module) {
  ORKESTR_TRY(const Elf64_Ehdr header, read_header(module));
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > module.size())
    return malformed("bad section headers");
  auto section_at = [&](std::uint64_t i) {
    return read_struct<Elf64_Shdr>(module, header.e_shoff + i * sizeof(Elf64_Shdr));
  };
  auto names_section = section_at(header.e_shstrndx);
  if (!names_section) return malformed("no section names");
  auto names = slice(module, names_section->sh_offset, names_section->sh_size);
  if (!names) return malformed("section names beyond its end");

  std::vector<std::string> needed;
  for (std::uint64_t i = 0; i < header.e_shnum; ++i) {
    auto section = section_at(i);
    if (!section) return malformed("section headers beyond its end");
    if (section->sh_name >= names->size()) continue;
    std::string_view name = names->substr(section->sh_name);
    if (name.substr(0, name.find('\0')) != ".modinfo") continue;
    auto info = slice(module, section->sh_offset, section->sh_size);
    if (!info) return malformed(".modinfo beyond its end");
    // "key=value\0key=value\0…"
    while (!info->empty()) {
      std::string_view entry = info->substr(0, info->find('\0'));
      info->remove_prefix(std::min(info->size(), entry.size() + 1));
      constexpr std::string_view kDepends = "depends=";
      if (entry.substr(0, kDepends.size()) != kDepends) continue;
      entry.remove_prefix(kDepends.size());
      while (!entry.empty()) {
        std::string_view one = entry.substr(0, entry.find(','));
        if (!one.empty()) needed.emplace_back(one);
        entry.remove_prefix(std::min(entry.size(), one.size() + 1));
      }
    }
    return needed;
  }
  return malformed("no .modinfo section: not a kernel module");
}

}  // namespace orkestr::image

#include "tools/cli/elf_program.hh"

#include <elf.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

namespace understudy::tools {
namespace {

#if defined(__x86_64__)
constexpr unsigned own_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned own_machine = EM_AARCH64;
#else
#error "which e_machine is this machine's?"
#endif

class File {
  public:
    explicit File(const std::filesystem::path& path)
        : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), elf_(nullptr) {
        if (descriptor_ >= 0 && ::elf_version(EV_CURRENT) != EV_NONE)
            elf_ = ::elf_begin(descriptor_, ELF_C_READ_MMAP, nullptr);
    }
    ~File() {
        if (elf_ != nullptr) ::elf_end(elf_);
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    Elf* get() const { return elf_; }

  private:
    int descriptor_;
    Elf* elf_;
};

std::string_view bytes_of(Elf_Scn* section) {
    const Elf_Data* data = ::elf_rawdata(section, nullptr);
    if (data == nullptr || data->d_buf == nullptr) return {};
    return {static_cast<const char*>(data->d_buf), data->d_size};
}

void read_loader(Elf* elf, ElfProgram& program) {
    std::size_t count = 0, size = 0;
    const char* image = ::elf_rawfile(elf, &size);
    if (::elf_getphdrnum(elf, &count) != 0 || image == nullptr) return;
    for (std::size_t i = 0; i < count; ++i) {
        GElf_Phdr header{};
        if (::gelf_getphdr(elf, static_cast<int>(i), &header) == nullptr || header.p_type != PT_INTERP) continue;
        if (header.p_offset >= size || header.p_filesz > size - header.p_offset) return;
        const std::string_view name(image + header.p_offset, header.p_filesz);
        program.loader = name.substr(0, name.find('\0'));
    }
}

void read_dynamic(Elf* elf, Elf_Scn* section, const GElf_Shdr& header, const std::filesystem::path& folder,
                  ElfProgram& program) {
    Elf_Data* data = ::elf_getdata(section, nullptr);
    if (data == nullptr || header.sh_entsize == 0) return;
    for (std::size_t i = 0; i < header.sh_size / header.sh_entsize; ++i) {
        GElf_Dyn entry{};
        if (::gelf_getdyn(data, static_cast<int>(i), &entry) == nullptr) return;
        if (entry.d_tag != DT_NEEDED && entry.d_tag != DT_RUNPATH && entry.d_tag != DT_RPATH) continue;
        const char* text = ::elf_strptr(elf, header.sh_link, entry.d_un.d_val);
        if (text == nullptr) continue;
        if (entry.d_tag == DT_NEEDED) {
            program.libraries.emplace_back(text);
            continue;
        }
        std::string folders = text;
        for (std::size_t at = 0; at <= folders.size();) {
            const std::size_t end = std::min(folders.find(':', at), folders.size());
            std::string one = folders.substr(at, end - at);
            for (const std::string_view origin : {"$ORIGIN", "${ORIGIN}"})
                if (one.rfind(origin, 0) == 0) one.replace(0, origin.size(), folder.string());
            program.library_folders.push_back(one);
            at = end + 1;
        }
    }
}

void read_names(Elf* elf, Elf_Scn* section, const GElf_Shdr& header, bool imports_alone, ElfProgram& program) {
    Elf_Data* data = ::elf_getdata(section, nullptr);
    if (data == nullptr || header.sh_entsize == 0) return;
    program.has_names = true;
    for (std::size_t i = 1; i < header.sh_size / header.sh_entsize; ++i) {
        GElf_Sym symbol{};
        if (::gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr) return;
        if (imports_alone && symbol.st_shndx != SHN_UNDEF) continue;
        const char* name = ::elf_strptr(elf, header.sh_link, symbol.st_name);
        if (name != nullptr && *name != 0) program.names.emplace(name);
    }
}

}  // namespace

bool read_elf_program(const std::filesystem::path& file, ElfProgram& program, bool is_library) {
    const File opened(file);
    Elf* elf = opened.get();
    GElf_Ehdr header{};
    std::size_t section_names = 0;
    if (elf == nullptr || ::elf_kind(elf) != ELF_K_ELF || ::gelf_getehdr(elf, &header) == nullptr) return false;
    program.of_this_machine = header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_machine == own_machine &&
                              (header.e_type == ET_EXEC || header.e_type == ET_DYN);
    read_loader(elf, program);
    // A file may have no table of sections; what it says is then less.
    if (::elf_getshdrstrndx(elf, &section_names) != 0) return true;
    for (Elf_Scn* section = nullptr; (section = ::elf_nextscn(elf, section)) != nullptr;) {
        GElf_Shdr described{};
        if (::gelf_getshdr(section, &described) == nullptr) continue;
        const char* text = ::elf_strptr(elf, section_names, described.sh_name);
        const std::string_view name = text == nullptr ? "" : text;
        if (name == ".gopclntab" || name == ".go.buildinfo" || name == ".note.go.buildid") program.is_go = true;
        if (described.sh_type == SHT_DYNAMIC)
            read_dynamic(elf, section, described, std::filesystem::weakly_canonical(file).parent_path(), program);
        if (described.sh_type == SHT_DYNSYM) read_names(elf, section, described, true, program);
        if (described.sh_type == SHT_SYMTAB && program.loader.empty() && !is_library)
            read_names(elf, section, described, false, program);
        if (name.rfind(".rodata", 0) == 0)
            for (const char* random : {"/dev/urandom", "/dev/random"})
                if (bytes_of(section).find(random) != std::string_view::npos) program.random_files.emplace(random);
    }
    return true;
}

}  // namespace understudy::tools

// Drives a fuzz target where there is no libFuzzer: every file of a corpus as it is, then -runs=N mutations
// of them, the same ones every time. It takes libFuzzer's options, and passes over those that it does not
// need.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

// splitmix64
class Random {
  public:
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    std::size_t below(std::size_t end) { return end == 0 ? 0 : next() % end; }

  private:
    std::uint64_t state_ = 1;
};

Bytes read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        std::exit(2);
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

void mutate(Bytes& bytes, const std::vector<Bytes>& corpus, Random& random) {
    const auto at = [&] { return bytes.begin() + static_cast<std::ptrdiff_t>(random.below(bytes.size())); };
    switch (random.below(6)) {
        case 0:
            if (!bytes.empty()) *at() ^= static_cast<std::uint8_t>(1u << random.below(8));
            break;
        case 1:
            if (!bytes.empty()) *at() = static_cast<std::uint8_t>(random.next());
            break;
        case 2:
            bytes.insert(at(), static_cast<std::uint8_t>(random.next()));
            break;
        case 3:
            if (!bytes.empty()) bytes.erase(at());
            break;
        case 4:
            bytes.resize(random.below(bytes.size() + 1));
            break;
        default: {
            const Bytes& other = corpus[random.below(corpus.size())];
            const auto from = static_cast<std::ptrdiff_t>(random.below(other.size()));
            bytes.insert(at(), other.begin() + from, other.end());
            break;
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::string_view runs_option = "-runs=", seeds_option = "-seed_inputs=";
    std::uint64_t runs = 0;
    std::vector<Bytes> corpus;
    for (int i = 1; i < argc; ++i) {
        std::string_view argument = argv[i];
        if (argument.starts_with(runs_option)) {
            runs = std::strtoull(argument.data() + runs_option.size(), nullptr, 10);
        } else if (argument.starts_with(seeds_option)) {
            argument.remove_prefix(seeds_option.size());
            while (!argument.empty()) {
                const std::size_t end = std::min(argument.find(','), argument.size());
                corpus.push_back(read(std::string(argument.substr(0, end))));
                argument.remove_prefix(std::min(end + 1, argument.size()));
            }
        } else if (!argument.starts_with('-')) {
            corpus.push_back(read(argv[i]));
        }
    }
    for (const Bytes& seed : corpus)
        LLVMFuzzerTestOneInput(seed.data(), seed.size());
    constexpr std::size_t longest = 4096;
    Random random;
    for (std::uint64_t run = 0; run < runs && !corpus.empty(); ++run) {
        Bytes bytes = corpus[random.below(corpus.size())];
        for (std::size_t left = 1 + random.below(8); left != 0; --left)
            mutate(bytes, corpus, random);
        bytes.resize(std::min(bytes.size(), longest));
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%zu files, %llu mutations\n", corpus.size(), static_cast<unsigned long long>(runs));
    return 0;
}

// Reads a mesh stream by FFmpeg's libraries, with input of one's own (AVIO), and says what frames come: ffmpeg URL [FRAMES]
//
//   c++ -std=c++17 ffmpeg.cpp $(pkg-config --cflags --libs msm libavformat libavcodec libavutil) -o ffmpeg
//
// FFmpeg's demuxer for SDP reads the description first and then, with sdp_flags=custom_io, packets from the same input: each read gives it one.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
#include <libavformat/avformat.h>
}
#include <msm.hpp>

namespace {

constexpr int largest_packet = 65536;

// What FFmpeg reads.
struct input {
  msm::reader reader;
  msm::burst burst;
  std::size_t next = 0;
  const char *sdp = nullptr;
  std::size_t sdp_left = 0;
  bool has_description = false;
};

int read(void *opaque, std::uint8_t *into, int size) {
  auto &own = *static_cast<input *>(opaque);
  if (!own.has_description) {
    const std::size_t length = std::min(own.sdp_left, static_cast<std::size_t>(size));
    std::memcpy(into, own.sdp, length);
    own.sdp += length;
    own.sdp_left -= length;
    return length > 0 ? static_cast<int>(length) : AVERROR_EOF;
  }
  msm_packet packet{};
  while (!msm::ok(own.burst.packet(own.next, packet))) {
    own.next = 0;
    if (!msm::ok(own.reader.recv(own.burst, 10000))) {
      return AVERROR_EOF;
    }
  }
  own.next++;
  const int length = static_cast<int>(std::min(packet.raw_length, static_cast<std::size_t>(size)));
  std::memcpy(into, packet.raw, static_cast<std::size_t>(length));
  return length;
}

// Receiver reports: the mesh sends its own.
#if LIBAVFORMAT_VERSION_MAJOR >= 61
int write(void *, const std::uint8_t *, int size) { return size; }
#else
int write(void *, std::uint8_t *, int size) { return size; }
#endif

int failed(const char *what, int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = "";
  av_strerror(error, text, sizeof text);
  std::fprintf(stderr, "%s: %s\n", what, text);
  return 1;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s URL [FRAMES]\n", argv[0]);
    return 2;
  }
  long left = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 100;
  msm::mesh mesh;
  input own;
  if (!msm::ok(msm::mesh::start(nullptr, mesh)) || !msm::ok(mesh.open(argv[1], own.reader)) ||
      !msm::ok(own.reader.sdp(own.sdp))) {
    std::fprintf(stderr, "%s: %s\n", argv[1], msm::last_error());
    return 1;
  }
  own.sdp_left = std::strlen(own.sdp);

  AVFormatContext *context = avformat_alloc_context();
  auto *buffer = static_cast<std::uint8_t *>(av_malloc(largest_packet));
  context->pb = avio_alloc_context(buffer, largest_packet, 0, &own, read, write, nullptr);
  AVIOContext *io = context->pb;
  // Each read is one of ours: nothing is kept between them.
  io->direct = AVIO_FLAG_DIRECT;
  AVDictionary *options = nullptr;
  av_dict_set(&options, "sdp_flags", "custom_io", 0);
  av_dict_set(&options, "reorder_queue_size", "0", 0);
  int result = avformat_open_input(&context, nullptr, av_find_input_format("sdp"), &options);
  av_dict_free(&options);
  if (result == 0) {
    // The description is read. From here on it is packets.
    own.has_description = true;
    io->eof_reached = 0;
    result = avformat_find_stream_info(context, nullptr);
  }
  AVPacket *packet = av_packet_alloc();
  while (result >= 0 && left > 0 && (result = av_read_frame(context, packet)) >= 0) {
    const AVStream *stream = context->streams[packet->stream_index];
    std::printf("%s %lld %d bytes%s\n", avcodec_get_name(stream->codecpar->codec_id),
                static_cast<long long>(packet->pts), packet->size, packet->flags & AV_PKT_FLAG_KEY ? ", a keyframe" : "");
    av_packet_unref(packet);
    left--;
  }
  av_packet_free(&packet);
  avformat_close_input(&context);
  av_freep(&io->buffer);
  avio_context_free(&io);
  return left > 0 && result != AVERROR_EOF ? failed(argv[1], result) : 0;
}

// Media Streaming Mesh for C++17: what msm.h has, freed by itself. No exceptions: each call returns an msm_result, and msm::last_error() says it in words.
#ifndef MSM_HPP
#define MSM_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>

#include "msm.h"

namespace msm {

using result = msm_result;

/// Whether a call has done what it was to do.
[[nodiscard]] inline bool ok(result result) noexcept { return result == MSM_RESULT_OK; }

/// What went wrong in this thread's last call that failed. Valid until its next one that fails.
[[nodiscard]] inline const char *last_error() noexcept { return msm_last_error(); }

/// A result's name, such as `no_route`.
[[nodiscard]] inline const char *name(result result) noexcept { return msm_result_name(result); }

/// No timeout: as long as it takes.
inline constexpr std::int64_t forever = -1;

namespace detail {

/// A handle that is freed when it goes.
template <typename T, result (*free)(T *)> class handle {
public:
  handle() noexcept = default;
  explicit handle(T *own) noexcept : own_(own) {}
  handle(handle &&other) noexcept : own_(std::exchange(other.own_, nullptr)) {}
  handle &operator=(handle &&other) noexcept {
    if (this != &other) {
      reset();
      own_ = std::exchange(other.own_, nullptr);
    }
    return *this;
  }
  handle(const handle &) = delete;
  handle &operator=(const handle &) = delete;
  ~handle() { reset(); }

  /// Frees it now.
  void reset() noexcept {
    if (own_ != nullptr) {
      static_cast<void>(free(std::exchange(own_, nullptr)));
    }
  }
  [[nodiscard]] T *get() const noexcept { return own_; }
  explicit operator bool() const noexcept { return own_ != nullptr; }

protected:
  T *own_ = nullptr;
};

/// A string that the library gives.
template <typename F> result take(std::string &out, F give) noexcept {
  char *text = nullptr;
  const result outcome = give(&text);
  if (outcome == MSM_RESULT_OK) {
    // Where there is no memory for a copy, there is none to go on with.
    out = text;
    msm_string_free(text);
  }
  return outcome;
}

} // namespace detail

/// Packets that came together; given back when it goes.
class burst {
public:
  burst() noexcept = default;
  burst(burst &&other) noexcept : own_(std::exchange(other.own_, msm_burst{})) {}
  burst &operator=(burst &&other) noexcept {
    if (this != &other) {
      reset();
      own_ = std::exchange(other.own_, msm_burst{});
    }
    return *this;
  }
  burst(const burst &) = delete;
  burst &operator=(const burst &) = delete;
  ~burst() { reset(); }

  /// Gives it back now.
  void reset() noexcept {
    if (own_.bytes != nullptr) {
      static_cast<void>(msm_burst_release(&own_));
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return own_.count; }
  [[nodiscard]] bool empty() const noexcept { return own_.count == 0; }
  [[nodiscard]] std::size_t track() const noexcept { return own_.track; }
  [[nodiscard]] const msm_burst &raw() const noexcept { return own_; }

  /// A packet, which points into the burst.
  [[nodiscard]] result packet(std::size_t index, msm_packet &out) const noexcept {
    return msm_burst_packet(&own_, index, &out);
  }

  /// Goes through the packets: `for (const msm_packet &packet : burst)`.
  class iterator {
  public:
    using value_type = msm_packet;
    using difference_type = std::ptrdiff_t;
    using pointer = const msm_packet *;
    using reference = const msm_packet &;
    using iterator_category = std::input_iterator_tag;

    iterator(const burst *of, std::size_t index) noexcept : of_(of), index_(index) { look(); }
    reference operator*() const noexcept { return packet_; }
    pointer operator->() const noexcept { return &packet_; }
    iterator &operator++() noexcept {
      ++index_;
      look();
      return *this;
    }
    bool operator==(const iterator &other) const noexcept { return index_ == other.index_; }
    bool operator!=(const iterator &other) const noexcept { return index_ != other.index_; }

  private:
    // What is no RTP is left out.
    void look() noexcept {
      while (index_ < of_->size() && of_->packet(index_, packet_) != MSM_RESULT_OK) {
        ++index_;
      }
    }
    const burst *of_;
    std::size_t index_;
    msm_packet packet_{};
  };
  [[nodiscard]] iterator begin() const noexcept { return iterator(this, 0); }
  [[nodiscard]] iterator end() const noexcept { return iterator(this, size()); }

private:
  friend class reader;
  msm_burst own_{};
};

/// A stream that is read.
class reader : public detail::handle<msm_reader, msm_reader_free> {
public:
  using handle::handle;

  /// The next packets that came together.
  [[nodiscard]] result recv(burst &out, std::int64_t timeout_ms = forever) const noexcept {
    out.reset();
    return msm_reader_recv_burst(own_, timeout_ms, &out.own_);
  }
  /// A descriptor to poll, for recv with a timeout of 0.
  [[nodiscard]] result fd(int &out) const noexcept { return msm_reader_fd(own_, &out); }
  /// Valid as long as the reader.
  [[nodiscard]] result sdp(const char *&out) const noexcept { return msm_reader_sdp(own_, &out); }
  [[nodiscard]] result tracks(std::size_t &out) const noexcept { return msm_reader_tracks(own_, &out); }
  /// Its strings are valid as long as the reader.
  [[nodiscard]] result track(std::size_t index, msm_track &out) const noexcept {
    return msm_reader_track(own_, index, &out);
  }
  [[nodiscard]] result stats(msm_reader_statistics &out) const noexcept { return msm_reader_stats(own_, &out); }
  [[nodiscard]] result pause() const noexcept { return msm_reader_pause(own_); }
  [[nodiscard]] result resume() const noexcept { return msm_reader_resume(own_); }
  /// Why the stream is over.
  [[nodiscard]] result end_cause(std::string &out) const noexcept {
    return detail::take(out, [this](char **text) { return msm_reader_end_cause(own_, text); });
  }
};

/// A stream that is published.
class publisher : public detail::handle<msm_publisher, msm_publisher_free> {
public:
  using handle::handle;

  /// One packet; nothing is sent where this does not return ok.
  [[nodiscard]] result send(std::size_t track, const std::uint8_t *packet, std::size_t length,
                            std::int64_t timeout_ms = forever) const noexcept {
    return msm_publisher_send(own_, track, packet, length, timeout_ms);
  }
  /// Packets one after the other, each `segment` bytes but the last.
  [[nodiscard]] result send_burst(std::size_t track, const std::uint8_t *packets, std::size_t length,
                                  std::size_t segment, std::int64_t timeout_ms = forever) const noexcept {
    return msm_publisher_send_burst(own_, track, packets, length, segment, timeout_ms);
  }
  /// What was read, without a copy.
  [[nodiscard]] result forward(std::size_t track, const burst &read,
                               std::int64_t timeout_ms = forever) const noexcept {
    return msm_publisher_forward(own_, track, &read.raw(), timeout_ms);
  }
  [[nodiscard]] result send_rtcp(std::size_t track, const std::uint8_t *datagram,
                                 std::size_t length) const noexcept {
    return msm_publisher_send_rtcp(own_, track, datagram, length);
  }
  /// A descriptor to poll, for sending with a timeout of 0.
  /// Ends the stream and waits until its URL is free for another publisher; this one is freed whatever is answered.
  [[nodiscard]] result close(std::int64_t timeout_ms) noexcept {
    return msm_publisher_close(std::exchange(own_, nullptr), timeout_ms);
  }
  [[nodiscard]] result fd(int &out) const noexcept { return msm_publisher_fd(own_, &out); }
  [[nodiscard]] result readers(std::size_t &out) const noexcept { return msm_publisher_readers(own_, &out); }
  [[nodiscard]] result stats(msm_publisher_statistics &out) const noexcept {
    return msm_publisher_stats(own_, &out);
  }
};

/// A member of the mesh.
class mesh : public detail::handle<msm_mesh, msm_mesh_free> {
public:
  using handle::handle;

  /// `yaml` may be NULL: a mesh without routes, which dials the URLs that it is given.
  [[nodiscard]] static result start(const char *yaml, mesh &out) noexcept {
    out.reset();
    return msm_mesh_start(yaml, &out.own_);
  }
  [[nodiscard]] static result start_file(const char *path, mesh &out) noexcept {
    out.reset();
    return msm_mesh_start_file(path, &out.own_);
  }
  [[nodiscard]] result serve() const noexcept { return msm_mesh_serve(own_); }
  [[nodiscard]] result open(const char *url, reader &out, const msm_options *options = nullptr) const noexcept {
    msm_reader *opened = nullptr;
    const result outcome = msm_mesh_open(own_, url, options, &opened);
    if (ok(outcome)) {
      out = reader(opened);
    }
    return outcome;
  }
  [[nodiscard]] result publish(const char *url, const char *sdp, publisher &out,
                               const msm_options *options = nullptr) const noexcept {
    msm_publisher *opened = nullptr;
    const result outcome = msm_mesh_publish(own_, url, sdp, options, &opened);
    if (ok(outcome)) {
      out = publisher(opened);
    }
    return outcome;
  }
  [[nodiscard]] result on_event(msm_event_callback callback, void *user_data) const noexcept {
    return msm_mesh_on_event(own_, callback, user_data);
  }
  [[nodiscard]] result reload(const char *path) const noexcept { return msm_mesh_reload(own_, path); }
  [[nodiscard]] result status(std::string &json) const noexcept {
    return detail::take(json, [this](char **text) { return msm_mesh_status(own_, text); });
  }
  [[nodiscard]] result metrics(std::string &text) const noexcept {
    return detail::take(text, [this](char **own) { return msm_mesh_metrics(own_, own); });
  }
  [[nodiscard]] result shutdown(std::uint32_t drain_ms = 0) const noexcept {
    return msm_mesh_shutdown(own_, drain_ms);
  }
};

} // namespace msm

#endif

/* Media Streaming Mesh for C and C++: media streams by URL, routed, authenticated and protected, inside a program.
 *
 * This file is made by `make header`: change the code instead.
 *
 * Names      msm_<type>_<verb>, the handle first, outputs last. An output is written only on success.
 * Results    MSM_RESULT_OK is 0. From 1 to 99 nothing went wrong: there is nothing now, or no more. From 100 the program is to blame, from 200 the mesh has answered
 *            no, from 300 the other side failed, from 400 the machine, from 900 this library; msm_last_error says it in words.
 * Handles    are numbers that look like pointers: never followed, and refused once they are freed. So a handle may be freed while other threads are in calls with it.
 * Threads    Each function may be called from any thread, with any handle, at any time, unless it says otherwise.
 * Strings    are UTF-8, ended by a zero.
 * Waiting    A timeout_ms below 0 waits as long as it takes, 0 does not wait.
 */

#ifndef MSM_H
#define MSM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/**
 * What a call came to: nought to 99 is no error. Numbers stay what they are; there may come to be more.
 */
typedef enum msm_result {
  /**
   * Done.
   */
  MSM_RESULT_OK = 0,
  /**
   * It would have to wait, and was not to: nothing is there, or there is no room.
   */
  MSM_RESULT_AGAIN = 1,
  /**
   * What was waited for did not come in time.
   */
  MSM_RESULT_TIMED_OUT = 2,
  /**
   * The stream is over; or there is no such item.
   */
  MSM_RESULT_ENDED = 3,
  /**
   * Another thread has freed the handle meanwhile.
   */
  MSM_RESULT_CLOSED = 4,
  /**
   * The program's mistake: a pointer is NULL that must not be.
   */
  MSM_RESULT_NULL_POINTER = 100,
  /**
   * The program's mistake: no such handle, or it was freed already.
   */
  MSM_RESULT_INVALID_HANDLE = 101,
  /**
   * The program's mistake: a value that is none.
   */
  MSM_RESULT_INVALID_ARGUMENT = 102,
  /**
   * The program's mistake: a string is not UTF-8.
   */
  MSM_RESULT_NOT_UTF8 = 103,
  /**
   * The URL is not one that the mesh serves.
   */
  MSM_RESULT_BAD_URL = 110,
  /**
   * The configuration was refused.
   */
  MSM_RESULT_BAD_CONFIGURATION = 111,
  /**
   * The SDP cannot be used.
   */
  MSM_RESULT_BAD_DESCRIPTION = 112,
  /**
   * What the state or kind of the stream does not allow.
   */
  MSM_RESULT_REFUSED = 113,
  /**
   * It was done before, and cannot be done twice.
   */
  MSM_RESULT_ALREADY = 114,
  /**
   * The mesh was shut down.
   */
  MSM_RESULT_STOPPED = 115,
  /**
   * There are as many handles as there can be.
   */
  MSM_RESULT_TOO_MANY_HANDLES = 116,
  /**
   * The mesh's answer: no route matches the URL and action.
   */
  MSM_RESULT_NO_ROUTE = 200,
  /**
   * The mesh's answer: the route does not serve this program.
   */
  MSM_RESULT_DENIED = 201,
  /**
   * The mesh's answer: nobody publishes there.
   */
  MSM_RESULT_NOT_PUBLISHED = 202,
  /**
   * The mesh's answer: another publisher holds the URL.
   */
  MSM_RESULT_ALREADY_PUBLISHED = 203,
  /**
   * The mesh's answer: the route sends whoever asks to another URL.
   */
  MSM_RESULT_REDIRECTED = 204,
  /**
   * The mesh's answer: a limit is reached.
   */
  MSM_RESULT_LIMIT = 205,
  /**
   * The other side: no endpoint of the cluster can be asked.
   */
  MSM_RESULT_NO_ENDPOINT = 300,
  /**
   * The other side could not be reached.
   */
  MSM_RESULT_UNREACHABLE = 301,
  /**
   * The other side did not answer in time.
   */
  MSM_RESULT_UPSTREAM_TIMEOUT = 302,
  /**
   * The other side answered with an error.
   */
  MSM_RESULT_UPSTREAM_STATUS = 303,
  /**
   * The other side broke the protocol.
   */
  MSM_RESULT_UPSTREAM_PROTOCOL = 304,
  /**
   * No TLS with the other side.
   */
  MSM_RESULT_UPSTREAM_TLS = 305,
  /**
   * The other side sends its sessions where they are not to go.
   */
  MSM_RESULT_UPSTREAM_REDIRECT = 306,
  /**
   * The other side is no member.
   */
  MSM_RESULT_NOT_A_MEMBER = 307,
  /**
   * The machine: a socket, a thread or a descriptor could not be had.
   */
  MSM_RESULT_SYSTEM = 400,
  /**
   * A mistake of this library's. Please report it, with the message.
   */
  MSM_RESULT_PANIC = 900,
  /**
   * An error that has no number yet; the message says what it is.
   */
  MSM_RESULT_OTHER = 901,
} msm_result;

/**
 * What happened. There may come to be more kinds.
 */
typedef enum msm_event_kind {
  /**
   * The stream goes by this server now, which `text` names: its first source, or where it is published to.
   */
  MSM_EVENT_KIND_CONNECTED = 1,
  /**
   * Another source has taken the place of the stream's; `text` says which, and why. Readers go on.
   */
  MSM_EVENT_KIND_SPLICED = 2,
  /**
   * A flow to another member is protected in another way than before; `text` says how, and why.
   */
  MSM_EVENT_KIND_PROTECTION_CHANGED = 3,
  /**
   * Another member has proven who it is: `name` is its SPIFFE ID, `text` its address.
   */
  MSM_EVENT_KIND_PEER_CONNECTED = 4,
  /**
   * There is no connection to it any more, and what lived on it has ended; `text` says why.
   */
  MSM_EVENT_KIND_PEER_LOST = 5,
  /**
   * The stream is over; `text` says why.
   */
  MSM_EVENT_KIND_ENDED = 6,
  /**
   * So many events came while the program was busy with one that some are lost to it; `text` says how many.
   */
  MSM_EVENT_KIND_MISSED = 7,
  /**
   * Something that has no number yet; `text` says what.
   */
  MSM_EVENT_KIND_OTHER = 99,
} msm_event_kind;

/**
 * How much something matters.
 */
typedef enum msm_log_level {
  /**
   * Somebody has to do something.
   */
  MSM_LOG_LEVEL_ERROR = 1,
  /**
   * Somebody may have to.
   */
  MSM_LOG_LEVEL_WARN = 2,
  /**
   * What an operator wants to know.
   */
  MSM_LOG_LEVEL_INFO = 3,
  /**
   * What a developer wants to know.
   */
  MSM_LOG_LEVEL_DEBUG = 4,
  /**
   * Everything.
   */
  MSM_LOG_LEVEL_TRACE = 5,
} msm_log_level;

/**
 * A member of the mesh: streams are read, published and served through it. Media runs on threads of its own.
 */
typedef struct msm_mesh msm_mesh;

/**
 * A stream that is published. What is sent waits in a queue of 512 packets or bursts for the mesh's threads.
 */
typedef struct msm_publisher msm_publisher;

/**
 * A stream that is read. Whoever takes its packets too slowly loses the newest: 512 bursts wait.
 */
typedef struct msm_reader msm_reader;

/**
 * How a stream is opened or published. Begin with msm_options_init.
 */
typedef struct msm_options {
  /**
   * The delay, in milliseconds, that can be afforded against loss on the hop to the other member; 0 turns protection off, less than 0 leaves it to the route.
   */
  int64_t latency_ms;
  /**
   * Zero; for what a newer library can be asked.
   */
  uint64_t reserved[7];
} msm_options;

/**
 * RTP packets of one track that came together, one after the other in one piece of memory. It is the program's until msm_burst_release, whatever becomes of the reader;
 * nothing was copied for it. A copy of the struct is the same burst: only one of them may be released.
 */
typedef struct msm_burst {
  /**
   * The first packet; the next one is `segment` bytes further. NULL once it was released.
   */
  const uint8_t *bytes;
  /**
   * Bytes of all packets.
   */
  size_t length;
  /**
   * Bytes of each packet but the last, which may be shorter.
   */
  size_t segment;
  /**
   * How many packets there are.
   */
  size_t count;
  /**
   * Index of the track, in the order of the description's `m=` sections.
   */
  size_t track;
  /**
   * When they came into this process, in nanoseconds of CLOCK_MONOTONIC.
   */
  uint64_t arrival_ns;
  /**
   * The library's.
   */
  const void *owner[4];
} msm_burst;

/**
 * One RTP packet of a burst, and what its header says. It points into the burst.
 */
typedef struct msm_packet {
  /**
   * The packet as it came: header, extensions, payload and padding.
   */
  const uint8_t *raw;
  /**
   * Its bytes.
   */
  size_t raw_length;
  /**
   * The payload, without header, extensions and padding.
   */
  const uint8_t *payload;
  /**
   * Its bytes.
   */
  size_t payload_length;
  /**
   * Index of the track, in the order of the description's `m=` sections.
   */
  size_t track;
  /**
   * When it came into this process, in nanoseconds of CLOCK_MONOTONIC.
   */
  uint64_t arrival_ns;
  /**
   * Timestamp, in units of the track's clock rate.
   */
  uint32_t timestamp;
  /**
   * Synchronization source.
   */
  uint32_t ssrc;
  /**
   * Sequence number.
   */
  uint16_t sequence;
  /**
   * Payload type, as the description maps it to a codec.
   */
  uint8_t payload_type;
  /**
   * For most video, whether it is the last packet of a frame.
   */
  bool marker;
} msm_packet;

/**
 * Something that happened.
 */
typedef struct msm_event {
  /**
   * What it is.
   */
  enum msm_event_kind kind;
  /**
   * The number of the stream that it happened to, which the log calls `hub`; 0 for what is of no one stream.
   */
  uint64_t stream;
  /**
   * For people: the stream's name, or the other member's.
   */
  const char *name;
  /**
   * For people: what there is to say of it, in one line.
   */
  const char *text;
} msm_event;

/**
 * Who is told what happens. The event is there only during the call, which must return: no exception, no longjmp.
 */
typedef void (*msm_event_callback)(const struct msm_event *event, void *user_data);

/**
 * Who is told a line of the log. It is there only during the call, which must return: no exception, no longjmp.
 */
typedef void (*msm_log_callback)(enum msm_log_level level, const char *line, void *user_data);

/**
 * What a track is. Its strings are valid until the reader is freed.
 */
typedef struct msm_track {
  /**
   * `video`, `audio`, …
   */
  const char *media;
  /**
   * The encoding of its first format, such as `H264`.
   */
  const char *encoding;
  /**
   * Timestamp units a second.
   */
  uint32_t clock_rate;
  /**
   * The payload type.
   */
  uint8_t payload_type;
} msm_track;

/**
 * What a reader has had.
 */
typedef struct msm_reader_statistics {
  /**
   * RTP packets that came, those among them that wait to be taken.
   */
  uint64_t packets;
  /**
   * Their bytes, headers included.
   */
  uint64_t bytes;
  /**
   * RTP packets that were lost to this reader as it took too slowly what came.
   */
  uint64_t dropped;
  /**
   * RTP packets of the stream that came into this process.
   */
  uint64_t stream_packets;
  /**
   * RTP packets of the stream that were lost before they came.
   */
  uint64_t stream_lost;
  /**
   * Zero; for what a newer library counts.
   */
  uint64_t reserved[11];
} msm_reader_statistics;

/**
 * What a publisher has sent.
 */
typedef struct msm_publisher_statistics {
  /**
   * RTP packets of the stream that the mesh has taken.
   */
  uint64_t packets;
  /**
   * RTP packets that were missing in what it was sent.
   */
  uint64_t lost;
  /**
   * RTCP packets that there was no room for.
   */
  uint64_t dropped;
  /**
   * Readers in this process that hold the stream now.
   */
  uint64_t readers;
  /**
   * Zero; for what a newer library counts.
   */
  uint64_t reserved[12];
} msm_publisher_statistics;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that the program runs with, such as `0.1.0`. Valid forever.
 */
const char *msm_version(void);

/**
 * The same as a number: major × 1,000,000 + minor × 1,000 + patch.
 */
uint32_t msm_version_number(void);

/**
 * What went wrong in this thread's last call that failed (a result of 100 or more), in words; empty before the first. It stays valid until the thread's next call that
 * fails, or the thread's end.
 */
const char *msm_last_error(void);

/**
 * A result's name, such as `no_route`: for logs. Valid forever. Of a number that is no result it is `unknown`.
 */
const char *msm_result_name(int32_t result);

/**
 * Sets the defaults.
 *
 * Requires:
 * `options` can be written to.
 */
enum msm_result msm_options_init(struct msm_options *options);

/**
 * Looks at one packet of a burst, from 0 to `count` - 1.
 *
 * \return MSM_RESULT_ENDED past the last one; MSM_RESULT_INVALID_ARGUMENT of a burst that was released.
 *
 * Requires:
 * `burst` was got from this library and not released; `packet` can be written to.
 */
enum msm_result msm_burst_packet(const struct msm_burst *burst,
                                 size_t index,
                                 struct msm_packet *packet);

/**
 * Gives a burst back; the struct is cleared. May be called from any thread.
 *
 * \return MSM_RESULT_INVALID_ARGUMENT where it was released already, by the same struct.
 *
 * Requires:
 * `burst` was got from this library, or is all zeros; no copy of it was released.
 */
enum msm_result msm_burst_release(struct msm_burst *burst);

/**
 * Has `callback` called with each event of the mesh from now on, on a thread that does nothing else: a slow one holds up nobody, and misses what comes when 256 events
 * wait. Once for each mesh. It may call this library.
 *
 * Requires:
 * `callback` can be called, with `user_data`, from another thread, until msm_mesh_free has returned.
 */
enum msm_result msm_mesh_on_event(const struct msm_mesh *mesh,
                                  msm_event_callback callback,
                                  void *user_data);

/**
 * Has `callback` called with each line of the log that `filter` lets through, such as `info` or `warn,msm::upstream=debug`; for the whole process, once. It is called on whichever
 * thread has something to say, those of the media among them, so it has to be quick, and must not call this library.
 *
 * Requires:
 * `filter` is a string; `callback` can be called, with `user_data`, from any thread, as long as the process lives.
 */
enum msm_result msm_log_to(const char *filter,
                           msm_log_callback callback,
                           void *user_data);

/**
 * Makes a mesh and starts its threads. `yaml` is a configuration as a file has it, `MSM__…` variables override its keys; with NULL there are no routes, and the
 * URLs that are opened are dialled. Nothing listens before msm_mesh_serve. Waits for what the configuration needs, such as an identity.
 *
 * Requires:
 * `yaml` is NULL or a string; `mesh` can be written to.
 */
enum msm_result msm_mesh_start(const char *yaml,
                               struct msm_mesh **mesh);

/**
 * The same with a configuration file.
 *
 * Requires:
 * `path` is a string; `mesh` can be written to.
 */
enum msm_result msm_mesh_start_file(const char *path, struct msm_mesh **mesh);

/**
 * Binds the configured listeners and serves them, once.
 */
enum msm_result msm_mesh_serve(const struct msm_mesh *mesh);

/**
 * Where a listener listens, such as `127.0.0.1:8554`, in the order of the configuration; ended by a zero, in `size` bytes (64 are enough).
 *
 * \return MSM_RESULT_ENDED past the last one, and before msm_mesh_serve.
 *
 * Requires:
 * `address` has room for `size` bytes.
 */
enum msm_result msm_mesh_listener(const struct msm_mesh *mesh,
                                  size_t index,
                                  char *address,
                                  size_t size);

/**
 * Puts another configuration file in the place of the one in force, as a whole or not at all. What it leaves as it was does not notice.
 *
 * Requires:
 * `path` is a string.
 */
enum msm_result msm_mesh_reload(const struct msm_mesh *mesh,
                                const char *path);

/**
 * What runs now, as JSON: listeners, streams, readers, hops, clusters. To be freed with msm_string_free.
 *
 * Requires:
 * `json` can be written to.
 */
enum msm_result msm_mesh_status(const struct msm_mesh *mesh,
                                char **json);

/**
 * The metrics in OpenMetrics text, counted up to now. To be freed with msm_string_free.
 *
 * Requires:
 * `metrics` can be written to.
 */
enum msm_result msm_mesh_metrics(const struct msm_mesh *mesh, char **metrics);

/**
 * Frees a string that a function gave, where it says so. NULL is nothing to free.
 *
 * Requires:
 * `string` is NULL, or was got from such a function and not freed.
 */
void msm_string_free(char *string);

/**
 * Ends a mesh: sessions that are there get `drain_ms` to end by themselves, new ones are refused; then readers and publishers are told, and the threads stop. The handle
 * stays valid. Waits until all that is done.
 */
enum msm_result msm_mesh_shutdown(const struct msm_mesh *mesh,
                                  uint32_t drain_ms);

/**
 * Ends a mesh at once, and frees it. Readers and publishers of it are over, which calls that wait for them return with; their handles are to be freed as ever. When
 * this returns, nobody is told events of it any more, but where it is called by who is being told: so it waits for a callback that is running, and is not to be called with a
 * lock held that the callback takes.
 */
enum msm_result msm_mesh_free(struct msm_mesh *mesh);

/**
 * Opens a stream for reading: routed, and shared with other readers of it where it is live. Returns when it plays; what is waited for has limits, which the
 * configuration sets. `options` may be NULL.
 *
 * Requires:
 * `url` is a string; `options` is NULL or points to options; `reader` can be written to.
 */
enum msm_result msm_mesh_open(const struct msm_mesh *mesh,
                              const char *url,
                              const struct msm_options *options,
                              struct msm_reader **reader);

/**
 * The next packets, all of one track, in the order of arrival: those that came together. The burst is the program's until msm_burst_release. Threads take turns.
 *
 * \return MSM_RESULT_AGAIN where nothing is there and `timeout_ms` is 0, MSM_RESULT_TIMED_OUT where nothing came by then; MSM_RESULT_ENDED when the stream is over
 * and all that came of it was taken; MSM_RESULT_CLOSED where another thread frees the reader meanwhile.
 *
 * Requires:
 * `burst` can be written to, and holds none.
 */
enum msm_result msm_reader_recv_burst(const struct msm_reader *reader,
                                      int64_t timeout_ms,
                                      struct msm_burst *burst);

/**
 * The next packet: a burst of one, to be released as one. Costs more for each packet than msm_reader_recv_burst does.
 *
 * \return As of msm_reader_recv_burst.
 *
 * Requires:
 * As of msm_reader_recv_burst.
 */
enum msm_result msm_reader_recv(const struct msm_reader *reader,
                                int64_t timeout_ms,
                                struct msm_burst *packet);

/**
 * A descriptor to poll: readable (POLLIN) when a call with a timeout of 0 may have something to give, the end included. It is not to be read, written or closed; stop
 * polling it before the reader is freed. It is not for a reader that other threads wait for at the same time.
 *
 * Requires:
 * `descriptor` can be written to.
 */
enum msm_result msm_reader_fd(const struct msm_reader *reader,
                              int *descriptor);

/**
 * What the stream is made of, as SDP. Valid until the reader is freed.
 *
 * Requires:
 * `sdp` can be written to.
 */
enum msm_result msm_reader_sdp(const struct msm_reader *reader, const char **sdp);

/**
 * How many tracks there are.
 *
 * Requires:
 * `count` can be written to.
 */
enum msm_result msm_reader_tracks(const struct msm_reader *reader, size_t *count);

/**
 * What a track is, in the order of the description's `m=` sections.
 *
 * \return MSM_RESULT_ENDED past the last one.
 *
 * Requires:
 * `track` can be written to.
 */
enum msm_result msm_reader_track(const struct msm_reader *reader,
                                 size_t index,
                                 struct msm_track *track);

/**
 * What the reader has had so far, and what its stream has.
 *
 * \return MSM_RESULT_ENDED when the stream is over.
 *
 * Requires:
 * `statistics` can be written to.
 */
enum msm_result msm_reader_stats(const struct msm_reader *reader,
                                 struct msm_reader_statistics *statistics);

/**
 * Why the stream is over, in words, once it is. To be freed with msm_string_free.
 *
 * \return MSM_RESULT_AGAIN while it is not.
 *
 * Requires:
 * `cause` can be written to.
 */
enum msm_result msm_reader_end_cause(const struct msm_reader *reader, char **cause);

/**
 * Pauses: nothing comes until msm_reader_resume. On a stream of this reader's own (VOD) the source pauses too. Waits for it.
 */
enum msm_result msm_reader_pause(const struct msm_reader *reader);

/**
 * Goes on after msm_reader_pause. Waits for it.
 */
enum msm_result msm_reader_resume(const struct msm_reader *reader);

/**
 * Leaves the stream, and frees the reader. Bursts that were got from it stay valid; calls that wait for it return with MSM_RESULT_CLOSED.
 */
enum msm_result msm_reader_free(struct msm_reader *reader);

/**
 * Publishes a stream with the given description (SDP): into this process where the route is local, otherwise to a server, which has agreed to record it when this
 * returns. `options` may be NULL.
 *
 * Requires:
 * `url` and `sdp` are strings; `options` is NULL or points to options; `publisher` can be written to.
 */
enum msm_result msm_mesh_publish(const struct msm_mesh *mesh,
                                 const char *url,
                                 const char *sdp,
                                 const struct msm_options *options,
                                 struct msm_publisher **publisher);

/**
 * Sends one RTP packet of `track` (index of its `m=` section), header included, once there is room for it; its bytes are copied. Threads take turns.
 *
 * \return MSM_RESULT_AGAIN where there is no room and `timeout_ms` is 0, MSM_RESULT_TIMED_OUT where there was none by then: nothing was sent; MSM_RESULT_ENDED when the
 * stream is over.
 *
 * Requires:
 * `packet` points to `length` bytes.
 */
enum msm_result msm_publisher_send(const struct msm_publisher *publisher,
                                   size_t track,
                                   const uint8_t *packet,
                                   size_t length,
                                   int64_t timeout_ms);

/**
 * Sends packets of `track` that lie one after the other, each `segment` bytes but the last, which may be shorter: cheaper than one by one. Their bytes are copied.
 *
 * \return As of msm_publisher_send.
 *
 * Requires:
 * `packets` points to `length` bytes.
 */
enum msm_result msm_publisher_send_burst(const struct msm_publisher *publisher,
                                         size_t track,
                                         const uint8_t *packets,
                                         size_t length,
                                         size_t segment,
                                         int64_t timeout_ms);

/**
 * Sends what was read, as another track or the same: nothing is copied. The burst stays the program's, to be released.
 *
 * \return As of msm_publisher_send.
 *
 * Requires:
 * `burst` was got from this library and not released.
 */
enum msm_result msm_publisher_forward(const struct msm_publisher *publisher,
                                      size_t track,
                                      const struct msm_burst *burst,
                                      int64_t timeout_ms);

/**
 * Sends a compound RTCP packet of `track`: sender reports carry the stream's wall clock to readers. Does not wait for room: what there is none for is dropped, and counted.
 *
 * \return MSM_RESULT_ENDED when the stream is over.
 *
 * Requires:
 * `datagram` points to `length` bytes.
 */
enum msm_result msm_publisher_send_rtcp(const struct msm_publisher *publisher,
                                        size_t track,
                                        const uint8_t *datagram,
                                        size_t length);

/**
 * A descriptor to poll: readable (POLLIN) when a call with a timeout of 0 may find room. It is not to be read, written or closed; stop polling it before the publisher
 * is freed. It is not for a publisher that other threads wait for at the same time.
 *
 * Requires:
 * `descriptor` can be written to.
 */
enum msm_result msm_publisher_fd(const struct msm_publisher *publisher,
                                 int *descriptor);

/**
 * Readers in this process that hold the stream now.
 *
 * Requires:
 * `readers` can be written to.
 */
enum msm_result msm_publisher_readers(const struct msm_publisher *publisher, size_t *readers);

/**
 * What was sent so far, and what the stream has.
 *
 * Requires:
 * `statistics` can be written to.
 */
enum msm_result msm_publisher_stats(const struct msm_publisher *publisher,
                                    struct msm_publisher_statistics *statistics);

/**
 * As msm_publisher_free, and waits until another publisher is let in at the URL: who publishes there right after freeing may be told that it is published already.
 *
 * \return MSM_RESULT_TIMED_OUT where that was not so by then: the publisher is freed, and the stream ends, all the same.
 */
enum msm_result msm_publisher_close(struct msm_publisher *publisher,
                                    int64_t timeout_ms);

/**
 * Ends the stream once what was sent is on its way, and frees the publisher; calls that wait for room return with MSM_RESULT_CLOSED.
 */
enum msm_result msm_publisher_free(struct msm_publisher *publisher);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MSM_H */

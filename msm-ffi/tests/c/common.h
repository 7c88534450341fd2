/* What the programs share: a stream of their own, and checks that say where they failed. */
#ifndef COMMON_H
#define COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <msm.h>

#define CHECK(condition)                                                                                   \
  do {                                                                                                     \
    if (!(condition)) {                                                                                    \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, msm_last_error());              \
      abort();                                                                                             \
    }                                                                                                      \
  } while (0)

#define WANT(wanted, call)                                                                                 \
  do {                                                                                                     \
    msm_result got_ = (call);                                                                              \
    if (got_ != (wanted)) {                                                                                \
      fprintf(stderr, "%s:%d: %s is %s, not %s (%s)\n", __FILE__, __LINE__, #call, msm_result_name(got_), \
              msm_result_name(wanted), msm_last_error());                                                 \
      abort();                                                                                             \
    }                                                                                                      \
  } while (0)

#define OK(call) WANT(MSM_RESULT_OK, call)

static const char SDP[] = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
                          "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n";

enum { PACKET = 200 };

/* An H.264 packet that is a picture of its own, number 0 a keyframe; its payload is told by its number. */
static inline void packet(uint8_t *out, uint16_t number) {
  memset(out, (uint8_t)(number * 7), PACKET);
  const uint8_t header[] = {0x80, 0xe0, (uint8_t)(number >> 8), (uint8_t)number, 0, 0, (uint8_t)(number >> 8), (uint8_t)number,
                            0,    0,    0,                      9,               (uint8_t)(number == 0 ? 0x65 : 0x41), 0x88};
  memcpy(out, header, sizeof header);
}

#endif

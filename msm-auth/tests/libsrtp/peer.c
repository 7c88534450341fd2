/*
 * libsrtp behind a pipe: reads a command a line, answers each with a line.
 *
 *   new SUITE KEY MKI     a session each way with a key (hex, key then salt); MKI is hex, or "-" for none     -> ok
 *   KIND HEX              a packet; KIND is protect, unprotect, protect_rtcp or unprotect_rtcp  -> ok HEX | error NUMBER
 */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PACKET = 2048, LINE = 2 * PACKET + 64 };

static void die(const char *what)
{
    fprintf(stderr, "peer: %s\n", what);
    exit(1);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    die("not hexadecimal");
    return 0;
}

static int bytes(const char *hex, unsigned char *out, size_t room)
{
    size_t length = strlen(hex) / 2;
    if (length > room || strlen(hex) % 2 != 0)
        die("length");
    for (size_t at = 0; at < length; at++)
        out[at] = (unsigned char)(digit(hex[2 * at]) << 4 | digit(hex[2 * at + 1]));
    return (int)length;
}

static void set_suite(const char *name, srtp_policy_t *policy)
{
    if (strcmp(name, "AEAD_AES_128_GCM") == 0) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy->rtcp);
    } else if (strcmp(name, "AEAD_AES_256_GCM") == 0) {
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy->rtcp);
    } else if (strcmp(name, "AES_CM_128_HMAC_SHA1_80") == 0) {
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtcp);
    } else if (strcmp(name, "AES_CM_128_HMAC_SHA1_32") == 0) {
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&policy->rtp);
        /* RFC 3711 section 5.2: RTCP keeps its 80 bits. */
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy->rtcp);
    } else {
        die("suite");
    }
}

static srtp_t session(const char *suite, const char *key_hex, const char *mki_hex, srtp_ssrc_type_t direction)
{
    static unsigned char key[64], mki[16];
    srtp_master_key_t master = { key, mki, 0 };
    srtp_master_key_t *masters[1] = { &master };
    srtp_policy_t policy;
    srtp_t made;

    memset(&policy, 0, sizeof policy);
    set_suite(suite, &policy);
    policy.ssrc.type = direction;
    policy.window_size = 1024;
    bytes(key_hex, key, sizeof key);
    if (strcmp(mki_hex, "-") == 0) {
        policy.key = key;
    } else {
        master.mki_size = (unsigned)bytes(mki_hex, mki, sizeof mki);
        policy.keys = masters;
        policy.num_master_keys = 1;
    }
    if (srtp_create(&made, &policy) != srtp_err_status_ok)
        die("srtp_create");
    return made;
}

int main(void)
{
    static char line[LINE], first[LINE], second[LINE], third[LINE], fourth[LINE];
    /* Four bytes boundary, which libsrtp wants. */
    static union { unsigned char bytes[PACKET + SRTP_MAX_TRAILER_LEN + 16]; uint32_t aligned; } packet;
    srtp_t out = NULL, in = NULL;
    unsigned use_mki = 0;

    if (srtp_init() != srtp_err_status_ok)
        die("srtp_init");
    while (fgets(line, sizeof line, stdin)) {
        int words = sscanf(line, "%s %s %s %s", first, second, third, fourth);
        if (words == 4 && strcmp(first, "new") == 0) {
            if (out)
                srtp_dealloc(out);
            if (in)
                srtp_dealloc(in);
            out = session(second, third, fourth, ssrc_any_outbound);
            in = session(second, third, fourth, ssrc_any_inbound);
            use_mki = strcmp(fourth, "-") != 0;
            puts("ok");
        } else if (words == 2 && out) {
            int length = bytes(second, packet.bytes, PACKET);
            srtp_err_status_t status;
            if (strcmp(first, "protect") == 0)
                status = srtp_protect_mki(out, packet.bytes, &length, use_mki, 0);
            else if (strcmp(first, "unprotect") == 0)
                status = srtp_unprotect_mki(in, packet.bytes, &length, use_mki);
            else if (strcmp(first, "protect_rtcp") == 0)
                status = srtp_protect_rtcp_mki(out, packet.bytes, &length, use_mki, 0);
            else if (strcmp(first, "unprotect_rtcp") == 0)
                status = srtp_unprotect_rtcp_mki(in, packet.bytes, &length, use_mki);
            else
                die("kind");
            if (status != srtp_err_status_ok) {
                printf("error %d\n", (int)status);
            } else {
                fputs("ok ", stdout);
                for (int at = 0; at < length; at++)
                    printf("%02x", packet.bytes[at]);
                putchar('\n');
            }
        } else {
            die("command");
        }
    }
    return 0;
}

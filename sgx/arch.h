/* SPDX-License-Identifier: Apache-2.0
 *
 * Intel SGX structures, leaf numbers and error codes: what the architecture
 * fixes and nothing of any operating system. No code lives here; both sides of
 * the trust border include it.
 *
 * Section numbers are those of the Intel SDM, volume 3D.
 */
#ifndef SGX_ARCH_H
#define SGX_ARCH_H

#include <stdint.h>

#define SGX_PAGE_SIZE 4096u

/* ENCLU leaves (EAX), chapter "SGX instruction references". */
enum sgx_enclu_leaf {
	SGX_EREPORT = 0,
	SGX_EGETKEY = 1,
	SGX_EENTER = 2,
	SGX_ERESUME = 3,
	SGX_EEXIT = 4,
	SGX_EACCEPT = 5,
	SGX_EMODPE = 6,
	SGX_EACCEPTCOPY = 7,
	SGX_EVERIFYREPORT2 = 8,
	SGX_EDECCSSA = 9,
	SGX_ENCLU_LEAF_COUNT
};

/* Error codes returned in RAX by leaves that return one. */
enum sgx_error {
	SGX_SUCCESS = 0,
	SGX_INVALID_SIG_STRUCT = 1,
	SGX_INVALID_ATTRIBUTE = 2,
	SGX_INVALID_MEASUREMENT = 4,
	SGX_EPC_PAGE_CONFLICT = 7,
	SGX_INVALID_SIGNATURE = 8,
	SGX_MAC_COMPARE_FAIL = 9,
	SGX_NOT_TRACKED = 11,
	SGX_CHILD_PRESENT = 13,
	SGX_ENCLAVE_ACT = 14,
	SGX_INVALID_EINITTOKEN = 16,
	SGX_PREV_TRK_INCMPL = 17,
	SGX_PG_IS_SECS = 18,
	SGX_PAGE_ATTRIBUTES_MISMATCH = 19,
	SGX_PAGE_NOT_MODIFIABLE = 20,
	SGX_PAGE_NOT_DEBUGGABLE = 21,
	SGX_INVALID_REPORTMACSTRUCT = 28,
	SGX_INVALID_CPUSVN = 32,
	SGX_INVALID_ISVSVN = 64,
	SGX_UNMASKED_EVENT = 128,
	SGX_INVALID_KEYNAME = 256,
};

/* ATTRIBUTES.FLAGS, 35.7.1 */
#define SGX_ATTR_INIT (1ull << 0)
#define SGX_ATTR_DEBUG (1ull << 1)
#define SGX_ATTR_MODE64BIT (1ull << 2)
#define SGX_ATTR_PROVISIONKEY (1ull << 4)
#define SGX_ATTR_EINITTOKENKEY (1ull << 5)
#define SGX_ATTR_CET (1ull << 6)
#define SGX_ATTR_KSS (1ull << 7)
#define SGX_ATTR_AEXNOTIFY (1ull << 10)

/* MISCSELECT */
#define SGX_MISC_EXINFO (1u << 0)

/* XFRM: same bits as XCR0 */
#define SGX_XFRM_LEGACY 0x3ull
#define SGX_XFRM_AVX 0x7ull
#define SGX_XFRM_AVX512 0xe7ull

struct sgx_attributes {
	uint64_t flags;
	uint64_t xfrm;
} __attribute__((packed));

/* SGX Enclave Control Structure: one page. */
struct sgx_secs {
	uint64_t size;
	uint64_t base;
	uint32_t ssa_frame_size; /* pages */
	uint32_t miscselect;
	uint64_t cet_legacy_bitmap;
	uint8_t cet_attributes;
	uint8_t reserved1[15];
	struct sgx_attributes attributes;
	uint8_t mrenclave[32];
	uint8_t reserved2[32];
	uint8_t mrsigner[32];
	uint8_t reserved3[32];
	uint8_t configid[64];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint16_t config_svn;
	uint8_t reserved4[3834];
} __attribute__((packed));
_Static_assert(sizeof(struct sgx_secs) == SGX_PAGE_SIZE, "SECS is one page");
_Static_assert(__builtin_offsetof(struct sgx_secs, mrenclave) == 64, "SECS.MRENCLAVE");
_Static_assert(__builtin_offsetof(struct sgx_secs, isv_prod_id) == 256, "SECS.ISVPRODID");

#define SGX_TCS_DBGOPTIN (1ull << 0)
#define SGX_TCS_AEXNOTIFY (1ull << 1)

/* Thread Control Structure: one page. Offsets are relative to the enclave base. */
struct sgx_tcs {
	uint64_t state;
	uint64_t flags;
	uint64_t ossa;
	uint32_t cssa;
	uint32_t nssa;
	uint64_t oentry;
	uint64_t aep;
	uint64_t ofsbase;
	uint64_t ogsbase;
	uint32_t fslimit;
	uint32_t gslimit;
	uint8_t reserved[4024];
} __attribute__((packed));
_Static_assert(sizeof(struct sgx_tcs) == SGX_PAGE_SIZE, "TCS is one page");

/* General registers of an SSA frame: its last 184 bytes. */
struct sgx_gprsgx {
	uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rflags, rip, ursp, urbp;
	uint32_t exitinfo;
	uint8_t reserved[3];
	uint8_t aexnotify;
	uint64_t fsbase, gsbase;
} __attribute__((packed));
_Static_assert(sizeof(struct sgx_gprsgx) == 184, "GPRSGX");

/* EXITINFO: vector[7:0], type[10:8], valid[31] */
#define SGX_EXITINFO_VECTOR(x) ((x)&0xffu)
#define SGX_EXITINFO_TYPE(x) (((x) >> 8) & 7u)
#define SGX_EXITINFO_VALID(x) (((x) >> 31) & 1u)
#define SGX_EXITTYPE_HARDWARE 3u
#define SGX_EXITTYPE_SOFTWARE 6u

/* MISC.EXINFO: the 16 bytes just below GPRSGX when MISCSELECT selects them. */
struct sgx_exinfo {
	uint64_t maddr;
	uint32_t errcd;
	uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct sgx_exinfo) == 16, "EXINFO");

enum sgx_page_type {
	SGX_PT_SECS = 0,
	SGX_PT_TCS = 1,
	SGX_PT_REG = 2,
	SGX_PT_VA = 3,
	SGX_PT_TRIM = 4,
	SGX_PT_SS_FIRST = 5,
	SGX_PT_SS_REST = 6,
};

#define SGX_SECINFO_R (1ull << 0)
#define SGX_SECINFO_W (1ull << 1)
#define SGX_SECINFO_X (1ull << 2)
#define SGX_SECINFO_PENDING (1ull << 3)
#define SGX_SECINFO_MODIFIED (1ull << 4)
#define SGX_SECINFO_PR (1ull << 5)
#define SGX_SECINFO_TYPE(t) ((uint64_t)(t) << 8)
#define SGX_SECINFO_REG SGX_SECINFO_TYPE(SGX_PT_REG)
#define SGX_SECINFO_TCS SGX_SECINFO_TYPE(SGX_PT_TCS)
#define SGX_SECINFO_TRIM SGX_SECINFO_TYPE(SGX_PT_TRIM)

struct sgx_secinfo {
	uint64_t flags;
	uint8_t reserved[56];
} __attribute__((packed, aligned(64)));
_Static_assert(sizeof(struct sgx_secinfo) == 64, "SECINFO");

/* Enclave signature structure, 35.13. All big numbers are little-endian. */
struct sgx_sigstruct {
	uint8_t header[16];
	uint32_t vendor;
	uint32_t date; /* BCD yyyymmdd */
	uint8_t header2[16];
	uint32_t swdefined;
	uint8_t reserved1[84];
	uint8_t modulus[384];
	uint32_t exponent;
	uint8_t signature[384];
	uint32_t miscselect;
	uint32_t miscmask;
	uint8_t reserved2[4];
	uint8_t isv_family_id[16];
	struct sgx_attributes attributes;
	struct sgx_attributes attribute_mask;
	uint8_t enclavehash[32];
	uint8_t reserved3[16];
	uint8_t isv_ext_prod_id[16];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint8_t reserved4[12];
	uint8_t q1[384];
	uint8_t q2[384];
} __attribute__((packed));
_Static_assert(sizeof(struct sgx_sigstruct) == 1808, "SIGSTRUCT");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, miscselect) == 900, "SIGSTRUCT.MISCSELECT");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, q1) == 1040, "SIGSTRUCT.Q1");

#define SGX_SIGSTRUCT_HEADER                                                                       \
	{ 6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0 }
#define SGX_SIGSTRUCT_HEADER2                                                                      \
	{ 1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0 }

struct sgx_targetinfo {
	uint8_t measurement[32];
	struct sgx_attributes attributes;
	uint8_t reserved1[2];
	uint16_t config_svn;
	uint32_t miscselect;
	uint8_t reserved2[8];
	uint8_t configid[64];
	uint8_t reserved3[384];
} __attribute__((packed, aligned(512)));
_Static_assert(sizeof(struct sgx_targetinfo) == 512, "TARGETINFO");

struct sgx_reportdata {
	uint8_t data[64];
} __attribute__((packed, aligned(128)));

struct sgx_report {
	uint8_t cpusvn[16];
	uint32_t miscselect;
	uint8_t reserved1[12];
	uint8_t isv_ext_prod_id[16];
	struct sgx_attributes attributes;
	uint8_t mrenclave[32];
	uint8_t reserved2[32];
	uint8_t mrsigner[32];
	uint8_t reserved3[32];
	uint8_t configid[64];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint16_t config_svn;
	uint8_t reserved4[42];
	uint8_t isv_family_id[16];
	uint8_t reportdata[64];
	uint8_t keyid[32];
	uint8_t mac[16];
} __attribute__((packed));
_Static_assert(sizeof(struct sgx_report) == 432, "REPORT");
#define SGX_REPORT_MACED_SIZE 384u

enum sgx_keyname {
	SGX_KEY_EINITTOKEN = 0,
	SGX_KEY_PROVISION = 1,
	SGX_KEY_PROVISION_SEAL = 2,
	SGX_KEY_REPORT = 3,
	SGX_KEY_SEAL = 4,
};
#define SGX_KEYPOLICY_MRENCLAVE 1u
#define SGX_KEYPOLICY_MRSIGNER 2u
#define SGX_KEYPOLICY_NOISVPRODID 4u
#define SGX_KEYPOLICY_CONFIGID 8u
#define SGX_KEYPOLICY_ISVFAMILYID 16u
#define SGX_KEYPOLICY_ISVEXTPRODID 32u

struct sgx_keyrequest {
	uint16_t keyname;
	uint16_t keypolicy;
	uint16_t isv_svn;
	uint16_t reserved1;
	uint8_t cpusvn[16];
	struct sgx_attributes attribute_mask;
	uint8_t keyid[32];
	uint32_t miscmask;
	uint16_t config_svn;
	uint8_t reserved2[434];
} __attribute__((packed, aligned(512)));
_Static_assert(sizeof(struct sgx_keyrequest) == 512, "KEYREQUEST");

struct sgx_reportmacstruct {
	uint8_t type[4];
	uint8_t reserved1[12];
	uint8_t cpusvn[16];
	uint8_t tcbinfohash[48];
	uint8_t teeinfohash[48];
	uint8_t reportdata[64];
	uint8_t reserved2[32];
	uint8_t mac[32];
} __attribute__((packed, aligned(256)));
_Static_assert(sizeof(struct sgx_reportmacstruct) == 256, "REPORTMACSTRUCT");

/* Page-fault error code bits as an enclave or its host sees them. */
#define SGX_PF_P 0x1u
#define SGX_PF_W 0x2u
#define SGX_PF_U 0x4u
#define SGX_PF_I 0x10u
#define SGX_PF_SGX 0x8000u

#endif

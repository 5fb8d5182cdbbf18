// Package s3 is the transport of scheme "s3": buckets of Amazon S3 and of
// everything that speaks its protocol (MinIO, Ceph, R2, versitygw, …). A place
// is
//
//	s3://BUCKET/PREFIX?endpoint=URL&region=REGION&style=path|virtual&profile=NAME&anonymous=true
//
// with objects named PREFIX/blobs/ALGORITHM/HEX or PREFIX/ALGORITHM/HEX; see
// package transport/filetree. Every parameter may be left out.
//
// # Credentials
//
// They are looked for where every AWS tool looks: the environment, the shared
// files with their profiles (SSO, web identity, assumed roles and processes
// included), the container's endpoint. Where these have none the request is
// made without, so that public buckets need no account. Only when AWS refuses
// that is the machine's metadata service asked, once and for a second at most;
// no other endpoint is ever given the machine's own credentials.
//
// Requests are signed with AWS Signature Version 4 in headers. A signature is
// for one URL, and redirects are not followed: the regions S3 sends one to by
// that are learnt from its answer instead, once for each bucket. So is how far
// this machine's clock is off.
//
// Of Amazon's SDK only configuration, credentials and signing are used. The
// request, and what its answer means, are package httprange's, as for any
// other web server.
package s3

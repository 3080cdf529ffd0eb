// Package service is the gRPC service of ipamd, generated from service.proto,
// and nothing else.
package service

package ec2api

import (
	"bytes"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

const namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

// answer is what goes back to the client.
type answer struct {
	status   int
	id       string // request id
	body     []byte
	html     bool
	err      *awserr.Error // for the log
	abort    bool          // reset the connection in place of answering
	truncate bool          // reset it after half of the body
}

// reply is the body of a successful answer. Embedding head makes a struct one.
type reply interface{ stamp(id string) }

// head is what every successful answer begins with.
type head struct {
	Namespace string `xml:"xmlns,attr"`
	RequestID string `xml:"requestId"`
}

func (h *head) stamp(id string) { h.Namespace, h.RequestID = namespace, id }

// void is the answer of actions that tell nothing but success.
type void struct {
	head
	Return bool `xml:"return"`
}

func done() (reply, error) { return &void{Return: true}, nil }

// list is a container element with item children.
type list[T any] struct {
	Items []T `xml:"item"`
}

func listOf[S, T any](in []S, convert func(S) T) *list[T] {
	out := &list[T]{}
	for _, v := range in {
		out.Items = append(out.Items, convert(v))
	}
	return out
}

type failure struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string
}

func succeeded(action string, body reply) answer {
	a := answer{status: http.StatusOK, id: requestID()}
	body.stamp(a.id)
	buf := bytes.NewBufferString(xml.Header)
	if err := xml.NewEncoder(buf).EncodeElement(body, xml.StartElement{Name: xml.Name{Local: action + "Response"}}); err != nil {
		return failed(awserr.New("InternalError", "encoding the answer: %v", err))
	}
	a.body = buf.Bytes()
	return a
}

func failed(err *awserr.Error) answer {
	a := answer{status: err.Status, id: requestID(), err: err}
	body, encodeErr := xml.Marshal(failure{Code: err.Code, Message: err.Message, RequestID: a.id})
	if encodeErr != nil {
		body = nil // an empty body with the status is still an error to the client
	}
	a.body = append([]byte(xml.Header), body...)
	return a
}

// badGateway is what a load balancer in front of the service answers.
func badGateway() answer {
	page := "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
	return answer{status: http.StatusBadGateway, body: []byte(page), html: true}
}

// send writes the answer. It panics with http.ErrAbortHandler to reset the
// connection, as net/http has it.
func (a answer) send(w http.ResponseWriter) error {
	if a.abort {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	if a.html {
		w.Header().Set("Content-Type", "text/html")
	} else {
		w.Header().Set("x-amzn-RequestId", a.id)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if !a.truncate {
		_, err := w.Write(a.body)
		return err
	}
	if _, err := w.Write(a.body[:len(a.body)/2]); err != nil {
		return err
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	panic(http.ErrAbortHandler)
}

func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

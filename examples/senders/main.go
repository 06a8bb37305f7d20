// A sender of kind http for FreshK, in Go's standard library: replace handOver by your provider's call.
//
//	SENDER_SECRET=whsec_... go run main.go 8010
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type message struct {
	To             string `json:"to"`
	Body           string `json:"body"`
	Language       string `json:"language"`
	Template       string `json:"template"`
	IdempotencyKey string `json:"idempotency_key"`
}

var (
	secret []byte
	lock   sync.Mutex
	seen   = map[string]string{} // what was answered to each idempotency key; keep it in a database
)

// handOver gives the message to the provider: accepted, invalid_number, refused or try_later.
func handOver(m message) string {
	if strings.HasPrefix(m.To, "+999") {
		return "invalid_number"
	}
	fmt.Printf("%s: template %s in %s\n", m.To, m.Template, m.Language)
	return "accepted"
}

func isSigned(h http.Header, body []byte) bool {
	stamp, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(stamp, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%d.%s", h.Get("webhook-id"), stamp, body)
	right := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, one := range strings.Split(h.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(one), right) {
			return true
		}
	}
	return false
}

func serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil || !isSigned(r.Header, body) {
		http.Error(w, "bad signature", http.StatusUnauthorized)
		return
	}
	var m message
	if json.Unmarshal(body, &m) != nil {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	lock.Lock()
	defer lock.Unlock()
	if _, known := seen[m.IdempotencyKey]; !known {
		seen[m.IdempotencyKey] = handOver(m)
	}
	w.Header().Set("content-type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"status": seen[m.IdempotencyKey]})
}

func main() {
	var err error
	digits := strings.TrimPrefix(os.Getenv("SENDER_SECRET"), "whsec_")
	if secret, err = base64.StdEncoding.DecodeString(digits); err != nil {
		log.Fatal("SENDER_SECRET: ", err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(serve)))
}
